"""Files of every format in and out: the same rows, the same rewards, the same resumption."""

from __future__ import annotations

import base64
import csv
import datetime as dt
import gzip
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest

from reward_client import FileError, ObjectiveHead, RewardClient, StepHead
from reward_client.files import runner, score_file
from reward_client.files.inputs.source import Source
from reward_client.files.scored import read_rows as read_scored_rows
from reward_client.testing import Fault, RewardServer

from ..support.fake_vllm import FakeVllm
from .conftest import read_rows, value_of, write_rows

ROOT = Path(__file__).parents[2]
ROWS = [
    {"id": f"n{n}", "token_ids": [100 + n, 7], "note": "a, “b”\nc" if n % 3 else "", "n": n}
    for n in range(25)
]
REWARDS = [value_of([100 + n, 7])[0] for n in range(25)]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    datasets.disable_progress_bars()


def table() -> pa.Table:
    return pa.Table.from_pylist(ROWS)


def lines() -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)


def zstd(content: bytes) -> bytes:
    return pa.compress(content, "zstd", asbytes=True)


def csv_text(delimiter: str = ",") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(ROWS[0])
    writer.writerows([str(value) for value in row.values()] for row in ROWS)
    return text.getvalue().encode()


def ipc_stream(path: Path) -> None:
    with pyarrow.ipc.new_stream(str(path), table().schema) as writer:
        writer.write_table(table(), max_chunksize=10)


def folder(path: Path, names: list[str]) -> None:
    path.mkdir()
    (path / "README.md").write_text("About these rows")
    (path / ".hidden.jsonl").write_text("{}")
    for position, name in enumerate(names):
        part = ROWS[position * 10 : (position + 1) * 10]
        write_rows(path / name, part)


INPUTS: dict[str, Callable[[Path], Any]] = {
    "in.jsonl": lambda path: path.write_bytes(lines()),
    "in.ndjson": lambda path: path.write_bytes(lines()),
    "in.jsonl.gz": lambda path: path.write_bytes(gzip.compress(lines())),
    "in.jsonl.zst": lambda path: path.write_bytes(zstd(lines())),
    "frames.zst": lambda path: path.write_bytes(zstd(lines()[:700]) + zstd(lines()[700:])),
    "in.json": lambda path: path.write_text(json.dumps(ROWS, indent=2)),
    "line.json": lambda path: path.write_text(json.dumps(ROWS)),
    "in.json.gz": lambda path: path.write_bytes(gzip.compress(json.dumps(ROWS).encode())),
    "in.csv": lambda path: path.write_bytes(csv_text()),
    "bom.csv": lambda path: path.write_bytes(b"\xef\xbb\xbf" + csv_text()),
    "in.tsv": lambda path: path.write_bytes(csv_text("\t")),
    "in.csv.gz": lambda path: path.write_bytes(gzip.compress(csv_text())),
    "in.csv.zst": lambda path: path.write_bytes(zstd(csv_text())),
    "in.parquet": lambda path: pyarrow.parquet.write_table(table(), path, row_group_size=7),
    "without-suffix": lambda path: pyarrow.parquet.write_table(table(), path),
    "pandas.parquet": lambda path: pd.DataFrame(ROWS).to_parquet(path),
    "polars.parquet": lambda path: pl.DataFrame(ROWS).write_parquet(path),
    "in.arrow": lambda path: pyarrow.feather.write_feather(table(), str(path)),
    "polars.arrow": lambda path: pl.DataFrame(ROWS).write_ipc(path),
    "stream.arrow": ipc_stream,
    "shards": lambda path: folder(path, ["0.jsonl", "1.jsonl", "2.jsonl"]),
    "data": lambda path: datasets.Dataset.from_list(ROWS).save_to_disk(path, num_shards=3),
}


@pytest.mark.parametrize("name", INPUTS)
def test_each_format_gives_the_same_rewards(
    client: RewardClient, tmp_path: Path, output: Path, name: str
) -> None:
    INPUTS[name](tmp_path / name)
    summary = score_file(client, tmp_path / name, output)
    assert (summary.rows, summary.failed) == (25, 0)
    rows = read_rows(output)
    assert [row["reward"] for row in rows] == REWARDS
    assert [row["row"] for row in rows] == [*range(25)]
    for row, given in zip(rows, ROWS, strict=True):
        assert {key: str(row[key]) for key in given} == {k: str(v) for k, v in given.items()}
    again = score_file(client, tmp_path / name, output)
    assert again.kept == 25


def columns_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("row", "digest")} for row in rows]


def from_csv(path: Path, delimiter: str = ",") -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {k: _json(v) for k, v in row.items()}
            for row in csv.DictReader(file, delimiter=delimiter)
        ]


def from_lines(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def _json(cell: str) -> Any:
    try:
        return json.loads(cell)
    except json.JSONDecodeError:
        return cell or None


OUTPUTS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "out.parquet": lambda path: pyarrow.parquet.read_table(path).to_pylist(),
    "out.arrow": lambda path: pyarrow.ipc.open_file(path).read_all().to_pylist(),
    "out.feather": lambda path: pl.read_ipc(path).to_dicts(),
    "out.json": lambda path: json.loads(path.read_text()),
    "out.json.gz": lambda path: json.loads(gzip.decompress(path.read_bytes())),
    "out.jsonl.gz": lambda path: [
        *map(json.loads, gzip.decompress(path.read_bytes()).splitlines())
    ],
    "out.jsonl.zst": lambda path: [
        *map(json.loads, pa.input_stream(str(path), compression="zstd").read().splitlines())
    ],
    "out.csv": from_csv,
    "out.tsv": lambda path: from_csv(path, "\t"),
    "out/": lambda path: [dict(row) for row in datasets.load_from_disk(str(path))],
}


@pytest.mark.parametrize("source", ["in.jsonl", "in.json", "in.csv", "in.parquet", "data"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_each_format_holds_the_same_columns(
    client: RewardClient, tmp_path: Path, name: str, source: str
) -> None:
    INPUTS[source](tmp_path / source)
    target = f"{tmp_path}/{name}"
    for _ in range(2):
        summary = score_file(client, tmp_path / source, target)
        rows = OUTPUTS[name](Path(target))
        assert [row["reward"] for row in rows] == REWARDS
        assert [row["token_count"] for row in rows] == [2] * 25
        assert all(row.get("error") is None for row in rows)
        assert [*rows[0]][:5] == ["id", "token_ids", "note", "n", "form"]
        assert not {"row", "digest"} & {*rows[0]}
        for row, given in zip(rows, ROWS, strict=True):
            assert {key: str(row[key] or "") for key in given if key != "n"} == {
                key: str(value) for key, value in given.items() if key != "n"
            }
            assert int(row["n"]) == given["n"]
    assert summary.kept == 25
    written = {path.name for path in tmp_path.iterdir()}
    base = name.rstrip("/")
    assert written == {source, base, f"{base}.rewards.jsonl", f"{base}.settings.json"}


def test_types_of_columns_stay(client: RewardClient, tmp_path: Path) -> None:
    schema = pa.schema(
        [
            ("token_ids", pa.list_(pa.int32())),
            ("when", pa.timestamp("us", tz="UTC")),
            ("day", pa.date32()),
            ("price", pa.decimal128(9, 2)),
            ("blob", pa.binary()),
            ("kind", pa.dictionary(pa.int8(), pa.string())),
            ("score", pa.float32()),
            ("big", pa.uint64()),
            ("tags", pa.map_(pa.string(), pa.int64())),
            ("took", pa.duration("ms")),
        ]
    ).with_metadata({"pandas": '{"columns": []}', "huggingface": "{}", "mine": "kept"})
    row = {
        "token_ids": [100, 7],
        "when": dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC),
        "day": dt.date(2026, 11, 1),
        "price": Decimal("1.50"),
        "blob": b"\x00\xff",
        "kind": "a",
        "score": float("nan"),
        "big": 2**64 - 1,
        "tags": [("x", 1)],
        "took": dt.timedelta(milliseconds=1500),
    }
    source = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(pa.Table.from_pylist([row, {}, row], schema), source)
    score_file(client, source, tmp_path / "out.parquet")
    written = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    given = pyarrow.parquet.read_table(source)
    kept = written.select(given.column_names)
    assert kept.schema.equals(given.schema)
    assert str(kept.to_pydict()) == str(given.to_pydict())
    assert written.schema.metadata[b"mine"] == b"kept"
    assert b"huggingface" not in written.schema.metadata
    assert written["reward"].to_pylist() == [value_of([100, 7])[0], None, value_of([100, 7])[0]]
    assert written["error"][1].as_py()["type"] == "InputError"
    score_file(client, source, tmp_path / "out.jsonl")
    (first, *_) = read_rows(tmp_path / "out.jsonl")
    assert first["when"] == "2026-11-01T12:00:00+00:00"
    assert (first["price"], first["big"], first["score"]) == ("1.50", 2**64 - 1, None)
    assert base64.b64decode(first["blob"]) == b"\x00\xff"


PAIRS = [
    {"chosen": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2."}]}
    | {"rejected": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": end}]}
    for end in ("3.", "4.", "1" * 3000)
]


def test_pairs_are_structs(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", PAIRS)
    with RewardServer() as server, RewardClient(server.url) as client:
        summary = score_file(client, source, tmp_path / "out.parquet", progress=True)
        score_file(client, source, tmp_path / "out.jsonl")
    assert summary.failed == 1
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    expected = columns_of(read_rows(tmp_path / "out.jsonl"))
    for row, other in zip(rows, expected, strict=True):
        assert row["reward"]["chosen"] == pytest.approx(other["reward"]["chosen"], abs=1e-4)
        assert (row["reward"]["rejected"] is None) == (other["reward"]["rejected"] is None)
    assert rows[0]["error"] is None or rows[0]["error"] == {"chosen": None, "rejected": None}
    assert rows[2]["error"]["rejected"]["type"] == "PromptTooLongError"


@pytest.mark.parametrize("name", ["out.parquet", "out.arrow", "out/"])
@pytest.mark.parametrize(
    ("good", "bad", "laid"),
    [
        (PAIRS[0], {"chosen": None}, lambda error: {"chosen": error, "rejected": error}),
        (
            {"prompt": "1 + 1?", "responses": ["2", "3"]},
            {"prompt": "1 + 1?"},
            lambda error: [error],
        ),
        (
            {"prompt": "1 + 1?", "chosen": "2", "rejected": ["3", "4"]},
            {"prompt": "1 + 1?"},
            lambda error: {"chosen": error, "rejected": [error]},
        ),
        ({"prompt": "1 + 1?", "response": "2"}, {"prompt": "1 + 1?"}, lambda error: error),
    ],
    ids=["pairs", "lists", "lists of pairs", "single"],
)
def test_the_error_of_a_row_that_cannot_be_read_is_kept(
    tmp_path: Path, name: str, good: Any, bad: Any, laid: Callable[[Any], Any]
) -> None:
    source = write_rows(tmp_path / "in.jsonl", [good, bad, good])
    with RewardServer() as server, RewardClient(server.url) as client:
        summary = score_file(client, source, f"{tmp_path}/{name}")
        score_file(client, source, tmp_path / "out.jsonl")
    error = {**read_rows(tmp_path / "out.jsonl")[1]["error"], "text": None}
    with Source(tmp_path / name) as opened:
        rows = [*read_scored_rows(opened)]
    assert error["type"] == "InputError"
    assert (rows[1]["reward"], rows[1]["error"]) == (None, laid(error))
    assert summary.failures == {"InputError": 1}


def scored_by(kind: Any, rows: list[Any], folder: Path, **options: Any) -> tuple[Any, Any]:
    """Score rows into Parquet, CSV and JSON lines; return the first and the last."""
    source = write_rows(folder / "in.jsonl", rows)
    with RewardServer(head=kind) as server, RewardClient(server.url, **options) as client:
        for name in ("out.parquet", "out.csv", "out.jsonl"):
            assert score_file(client, source, folder / name).failed == 0
    typed = pyarrow.parquet.read_table(folder / "out.parquet").to_pylist()
    return typed, read_rows(folder / "out.jsonl")


def test_objectives_are_a_struct(tmp_path: Path) -> None:
    rows = [{"messages": pair["chosen"]} for pair in PAIRS]
    head = ObjectiveHead(names=("a", "b", "c", "d", "e"))
    for found, expected in zip(*scored_by("labels", rows, tmp_path, head=head), strict=True):
        assert found["objectives"] == pytest.approx(expected["objectives"], abs=1e-4)
        assert found["reward"] is None
    assert from_csv(tmp_path / "out.csv")[0]["objectives"].keys() == {*"abcde"}


def test_steps_are_a_list_of_structs(tmp_path: Path) -> None:
    head = StepHead(step_token=RewardServer.step_token, good_label=1, aggregate="min")
    rows = [{"problem": "1 + 1?", "steps": ["One.", "Two."][: n + 1]} for n in range(2)]
    for found, expected in zip(*scored_by("steps", rows, tmp_path, head=head), strict=True):
        for step, other in zip(found["step_rewards"], expected["step_rewards"], strict=True):
            assert step["value"] == pytest.approx(other["value"], abs=1e-4)
            assert step["logits"] == pytest.approx(other["logits"], abs=1e-4)
            assert (step["start"], step["end"]) == (other["start"], other["end"])
    assert len(from_csv(tmp_path / "out.csv")[1]["step_rewards"]) == 2


def test_78_rows_of_two_layouts(client: RewardClient, fake: FakeVllm, tmp_path: Path) -> None:
    one, many = {"prompt": "a", "response": "b"}, {"prompt": "a", "responses": ["b", "c"]}
    with RewardServer() as server, RewardClient(server.url) as real:
        source = write_rows(tmp_path / "in.jsonl", [one, many, one])
        summary = score_file(real, source, tmp_path / "out.parquet")
        assert summary.failures == {"InputError": 1}
        assert (
            "(a list) into the column of the rows before it (a number)"
            in (summary.reasons["InputError"][1])
        )
        for name in ("out.jsonl", "out.json", "out.csv"):
            assert score_file(real, source, tmp_path / name).failed == 0
    rewards = pyarrow.parquet.read_table(tmp_path / "out.parquet")["reward"].to_pylist()
    assert [reward is None for reward in rewards] == [False, True, False]


def test_a_column_of_two_types_is_refused_before_anything_is_scored(
    client: RewardClient, fake: FakeVllm, tmp_path: Path
) -> None:
    source = write_rows(
        tmp_path / "in.jsonl",
        [{"token_ids": [100], "note": 1}] * 1500 + [{"token_ids": [100], "note": "x"}],
    )
    with pytest.raises(FileError, match=r"in\.jsonl has no single type .*JSON"):
        score_file(client, source, tmp_path / "out.parquet")
    assert fake.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    assert score_file(client, source, tmp_path / "out.csv").failed == 0


@pytest.mark.parametrize("nested", [lambda x: x, lambda x: [x], lambda x: {"a": [x]}])
def test_an_integer_that_a_float_cannot_hold_is_refused_before_anything_is_scored(
    client: RewardClient, fake: FakeVllm, tmp_path: Path, nested: Callable[[object], object]
) -> None:
    def rows(largest: int) -> list[dict[str, object]]:
        values = [largest, *[1] * 1500, 0.5]  # the types of 1,000 rows are looked at together
        return [{"token_ids": [100], "id": nested(value)} for value in values]

    source = write_rows(tmp_path / "in.jsonl", rows(2**53 + 1))
    for name in ("out.parquet", "out.arrow", "out/"):
        with pytest.raises(FileError, match=r"column 'id' of .*in\.jsonl has no single type"):
            score_file(client, source, f"{tmp_path}/{name}")
    assert fake.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    write_rows(source, rows(2**53))
    assert score_file(client, source, tmp_path / "out.parquet").failed == 0
    ids = pyarrow.parquet.read_table(tmp_path / "out.parquet")["id"].to_pylist()
    assert (ids[0], ids[-1]) == (nested(2.0**53), nested(0.5))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([2**53 + 1]), pa.array([0.5])),
        (pa.array([2**40], pa.timestamp("s")), pa.array([1], pa.timestamp("ns"))),
    ],
    ids=["integers and floats", "seconds and nanoseconds"],
)
def test_a_value_that_the_type_of_another_file_cannot_hold_is_refused(
    client: RewardClient, fake: FakeVllm, tmp_path: Path, one: Any, other: Any
) -> None:
    sources = [tmp_path / "one.parquet", tmp_path / "other.parquet"]
    for path, column in zip(sources, (one, other), strict=True):
        pyarrow.parquet.write_table(pa.table({"token_ids": [[100]], "x": column}), path)
    with pytest.raises(FileError, match=r"column 'x' of .* has no single type"):
        score_file(client, sources, tmp_path / "out.parquet")
    assert fake.requests == []


@pytest.mark.parametrize("name", ["out.parquet", "out.csv"])
@pytest.mark.parametrize("column", ["reward", "form", "error"])
def test_a_column_of_an_added_name_is_refused(
    client: RewardClient, fake: FakeVllm, tmp_path: Path, name: str, column: str
) -> None:
    pyarrow.parquet.write_table(
        pa.table({"token_ids": [[100]], column: [1.0]}), tmp_path / "in.parquet"
    )
    with pytest.raises(FileError, match=f"Cannot add the column '{column}': the row has one"):
        score_file(client, tmp_path / "in.parquet", tmp_path / name)
    assert fake.requests == []


def test_several_files_are_one_input(client: RewardClient, tmp_path: Path) -> None:
    for name in ("in.jsonl", "in.parquet", "in.csv", "shards"):
        INPUTS[name](tmp_path / name)
    names = ["in.parquet", "in.jsonl", "shards", "in.csv"]
    out = tmp_path / "out.jsonl"
    summary = score_file(client, [tmp_path / name for name in names], out)
    assert (summary.rows, summary.failed) == (100, 0)
    rows = read_rows(out)
    assert [row["row"] for row in rows] == [*range(100)]
    assert [row["reward"] for row in rows] == REWARDS * 4
    with pytest.raises(FileError, match=r"row 0 of .*in\.csv and 5 more files has changed"):
        score_file(client, [tmp_path / name for name in reversed(names)], out)


def test_files_of_other_columns_are_joined(client: RewardClient, tmp_path: Path) -> None:
    one = pa.table({"token_ids": [[100]], "a": pa.array([1], pa.int32())})
    two = pa.table({"a": pa.array([2], pa.int64()), "token_ids": [[101]], "b": ["x"]})
    for name, each in (("1.parquet", one), ("2.parquet", two)):
        pyarrow.parquet.write_table(each, tmp_path / name)
    score_file(client, [tmp_path / "1.parquet", tmp_path / "2.parquet"], tmp_path / "out.parquet")
    written = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["a"], row["b"]) for row in written] == [(1, None), (2, "x")]
    assert [row["reward"] for row in written] == [value_of([100])[0], value_of([101])[0]]


def test_ragged_rows_of_csv_are_errors(client: RewardClient, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(
        'id,token_ids\na,"[100, 7]"\nb,"[100, 7]",extra\nc\n\nd,"[100,\n7]"\n'
    )
    for name in ("out.jsonl", "out.csv"):
        summary = score_file(client, tmp_path / "in.csv", tmp_path / name)
        assert (summary.rows, summary.failures) == (4, {"InputError": 2})
        assert summary.reasons["InputError"] == (
            1,
            "Cannot read the line: it has 3 cells, but the header has 2 names.",
        )
    assert [row["reward"] for row in from_csv(tmp_path / "out.csv")] == [
        value_of([100, 7])[0],
        None,
        None,
        value_of([100, 7])[0],
    ]


BAD: dict[str, tuple[bytes, str]] = {
    "in.bz2": (b"BZh91AY", "compressed with bzip2. Decompress it first"),
    "in.xz": (b"\xfd7zXZ\x00", "compressed with xz"),
    "in.xlsx": (b"PK\x03\x04....", "a workbook of Excel"),
    "old.feather": (b"FEA1....", "Feather of version 1"),
    "in.db": (b"SQLite format 3\x00", "it is a database"),
    "cut.parquet": (b"PAR1" + b"\x00" * 100, "Cannot read"),
    "cut.arrow": (b"ARROW1\x00\x00" + b"\x00" * 100, "Cannot read"),
    "cut.stream": (b"\xff\xff\xff\xff" + b"\x00" * 3, "Cannot read"),
    "cut.zst": (zstd(lines())[:-9], "Truncated compressed stream"),
    "bad.zst": (b"\x28\xb5\x2f\xfd" + b"\xff" * 50, "Cannot read"),
    "cut.json": (json.dumps(ROWS).encode()[:-9], "begins as a JSON array, but is not valid JSON"),
    "more.json": (json.dumps(ROWS).encode() * 2, "Extra data"),
    "comma.json": (b'[{"token_ids": [1]},]', "not valid JSON"),
    "gap.json": (b'[{"token_ids": [1]} {"token_ids": [1]}]', "Expecting ',' or ']'"),
    "latin.json": (b'[{"note": "\xe9"}]', "utf-8"),
    "latin.csv": (b"token_ids,note\n[1],\xe9\n", "Save it as UTF-8"),
    "utf-16.csv": ("token_ids,note\n[1],x\n".encode("utf-16"), "Save it as UTF-8"),
    "quote.csv": (b'token_ids,note\n[1],"x" y\n', "line 2 is not CSV"),
    "open.csv": (b'token_ids,note\n[1],"x', "is not CSV"),
    "twice.csv": (b"token_ids,a,a\n[1],2,3\n", "two columns are named 'a'"),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_cannot_be_read(
    client: RewardClient, tmp_path: Path, output: Path, name: str
) -> None:
    content, says = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match="Cannot read") as caught:
        score_file(client, tmp_path / name, output)
    assert says in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_folders_that_cannot_be_read(client: RewardClient, tmp_path: Path, output: Path) -> None:
    split = datasets.Dataset.from_list(ROWS)
    datasets.DatasetDict({"train": split, "test": split}).save_to_disk(tmp_path / "splits")
    with pytest.raises(FileError, match=r"the data sets train, test\. Name one, such as .*/train"):
        score_file(client, tmp_path / "splits", output)
    assert score_file(client, tmp_path / "splits" / "test", output).rows == 25
    folder(tmp_path / "two", ["a.jsonl", "b.csv"])
    with pytest.raises(FileError, match=r"it holds 1 \.jsonl, 1 \.csv\. Name the files"):
        score_file(client, tmp_path / "two", output)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "state.json").write_text('{"_data_files": []}')
    with pytest.raises(FileError, match=r"state\.json names no data files"):
        score_file(client, tmp_path / "data", output)


def test_a_pipe_is_read_once(client: RewardClient, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code = f"open({str(pipe)!r}, 'wb').write({zstd(lines())!r})"
    for name, ends in (("out.jsonl", None), ("out.parquet", "a pipe is read once only")):
        with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL):
            if ends is None:
                assert score_file(client, pipe, tmp_path / name).rows == 25
            else:
                with pytest.raises(FileError, match=ends):
                    score_file(client, pipe, tmp_path / name)


@pytest.mark.parametrize("name", ["out.parquet", "out.csv", "out/"])
def test_78_what_is_there_is_not_overwritten(
    client: RewardClient, fake: FakeVllm, source: Path, tmp_path: Path, name: str
) -> None:
    target = tmp_path / name.rstrip("/")
    target.mkdir() if name.endswith("/") else target.write_bytes(b"mine")
    with pytest.raises(FileError, match=r"it exists, and .*rewards\.jsonl, which an earlier run"):
        score_file(client, source, f"{tmp_path}/{name}")
    if target.is_dir():
        target.rmdir()
    else:
        assert target.read_bytes() == b"mine"
        target.unlink()
    new = target.with_name(f"{target.name}.new")
    new.write_bytes(b"mine")
    with pytest.raises(FileError, match=r"\.new exists, and the run writes a file of this name"):
        score_file(client, source, f"{tmp_path}/{name}")
    assert new.read_bytes() == b"mine"
    assert fake.requests == []


@pytest.mark.parametrize("name", ["out.parquet", "out.csv.gz", "out/"])
def test_failed_rows_are_scored_again(tmp_path: Path, name: str) -> None:
    source = write_rows(tmp_path / "in.jsonl", PAIRS)
    read = OUTPUTS["out/" if name == "out/" else "out.parquet"]
    with RewardServer() as server, RewardClient(server.url, retry=1) as client:
        client.settings()
        server.inject(Fault.status(401), path="/pooling", times=20)
        assert score_file(client, source, f"{tmp_path}/{name}").failed == 3
    with RewardServer() as server, RewardClient(server.url) as client:
        summary = score_file(client, source, f"{tmp_path}/{name}", retry_failed=True)
    assert summary.failed == 1
    if name != "out.csv.gz":
        rows = read(tmp_path / name.rstrip("/"))
        assert [row["reward"]["rejected"] is None for row in rows] == [False, False, True]


def test_the_same_rows_give_the_same_bytes(client: RewardClient, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", ROWS)
    for name in OUTPUTS:
        contents = []
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir(exist_ok=True)
            score_file(client, source, f"{tmp_path}/{folder}/{name}")
            written = tmp_path / folder / name.rstrip("/")
            files = sorted(written.iterdir()) if written.is_dir() else [written]
            contents.append([file.read_bytes() for file in files])
        assert contents[0] == contents[1], name


@pytest.mark.parametrize("name", ["out.json", "out.parquet", "out/"])
def test_a_disk_that_is_full_at_the_end_costs_no_rewards(tmp_path: Path, name: str) -> None:
    rows = [{"token_ids": [100 + index], "note": os.urandom(1500).hex()} for index in range(100)]
    source = write_rows(tmp_path / "in.jsonl", rows)
    code = (
        "import resource, sys; from reward_client.cli import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); sys.exit(main())"
    )
    with RewardServer() as server:
        command = [sys.executable, "-c", code, "score", str(source), f"{tmp_path}/{name}"]
        run = subprocess.run(
            [*command, "--url", server.url], check=False, capture_output=True, text=True
        )
        with RewardClient(server.url) as client:
            summary = score_file(client, source, f"{tmp_path}/{name}")
    assert run.returncode == 1
    assert "results are kept: fix the cause and run the same command again" in run.stderr
    assert (summary.rows, summary.kept) == (100, 100)


def test_78_an_input_that_changes_meanwhile(
    client: RewardClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_rows(tmp_path / "in.jsonl", ROWS)
    scored = runner._Run.score

    def changing(*args: Any, **options: Any) -> Any:
        summary = scored(*args, **options)
        write_rows(source, ROWS[:-1])
        return summary

    monkeypatch.setattr(runner._Run, "score", changing)
    with pytest.raises(FileError, match="has changed during the run"):
        score_file(client, source, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()


def test_without_pyarrow(client: RewardClient, tmp_path: Path, output: Path) -> None:
    pyarrow.parquet.write_table(table(), tmp_path / "in.parquet")
    source = write_rows(tmp_path / "in.jsonl", ROWS)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("pyarrow", "pyarrow.parquet", "pyarrow.ipc"):
            patch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=r"Parquet needs pyarrow\. Run: pip install"):
            score_file(client, tmp_path / "in.parquet", output)
        for name in ("out.parquet", "out.arrow", "out.jsonl.zst"):
            with pytest.raises(ImportError, match=r"pip install 'reward-client\[data\]'"):
                score_file(client, source, tmp_path / name)
        for name in ("out.json", "out.csv", "out.jsonl.gz"):
            assert score_file(client, source, tmp_path / name).rows == 25


ODD_TEXTS = ["a\rb", "a\r\nb", "\r", 'a "b", c', "\u2028", "\x00", "\ufeffa", " a ", "null", "[1]"]


def test_values_of_columns_that_json_writes_as_texts_are_these_texts_in_csv(
    client: RewardClient, tmp_path: Path
) -> None:
    columns: dict[str, Any] = {
        "date": dt.date(2026, 11, 29),
        "time": dt.datetime(2026, 11, 29, 12, 30, tzinfo=dt.UTC),
        "price": Decimal("1.10"),
        "bytes": b"\x00\xff",
        "nan": math.nan,
        "infinite": math.inf,
        "none": None,
        "flag": True,
        "texts": ["a", None],
    }
    table = pa.Table.from_pylist([{"token_ids": [100], **columns}])
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet")
    assert score_file(client, tmp_path / "in.parquet", tmp_path / "out.csv").failed == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert {name: row[name] for name in columns} == {
        "date": "2026-11-29",
        "time": "2026-11-29T12:30:00+00:00",
        "price": "1.10",
        "bytes": "AP8=",
        "nan": "",
        "infinite": "",
        "none": "",
        "flag": "true",
        "texts": '["a",null]',
    }


@pytest.mark.parametrize("name", ["out.csv", "out.tsv", "out.csv.gz"])
def test_any_text_stays_in_csv(client: RewardClient, tmp_path: Path, name: str) -> None:
    rows = [{"token_ids": [100], "note": text, "n": 2**70 + 1} for text in ODD_TEXTS]
    score_file(client, write_rows(tmp_path / "in.jsonl", rows), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    text = (gzip.decompress(content) if name.endswith("gz") else content).decode()
    delimiter = "\t" if "tsv" in name else ","
    written = [*csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)]
    assert [row["note"] for row in written] == ODD_TEXTS
    assert {row["n"] for row in written} == {str(2**70 + 1)}


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (2**70 + 1, ["out.parquet", "out.arrow", "out/"]),
        (2**63 + 1, ["out.parquet", "out.arrow", "out/"]),
        ({}, ["out.parquet"]),
        ([[{}]], ["out.parquet"]),
    ],
    ids=str,
)
def test_a_value_without_a_type_is_refused_before_anything_is_scored(
    client: RewardClient, fake: FakeVllm, tmp_path: Path, value: Any, names: list[str]
) -> None:
    source = write_rows(tmp_path / "in.jsonl", [{"token_ids": [100], "x": value}])
    for name in names:
        with pytest.raises(FileError, match=r"has no (single type|place for a column)"):
            score_file(client, source, f"{tmp_path}/{name}")
    assert fake.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_type_that_datasets_lacks_is_refused(
    client: RewardClient, fake: FakeVllm, tmp_path: Path
) -> None:
    tags = pa.array([[("x", 1)]], pa.map_(pa.string(), pa.int64()))
    pyarrow.parquet.write_table(
        pa.table({"token_ids": [[100]], "tags": tags}), tmp_path / "in.parquet"
    )
    with pytest.raises(FileError, match="datasets has no place for a column"):
        score_file(client, tmp_path / "in.parquet", f"{tmp_path}/out/")
    assert fake.requests == []


def test_times_that_python_lacks(client: RewardClient, tmp_path: Path) -> None:
    when = pa.array([2**62], pa.timestamp("us"))
    pyarrow.parquet.write_table(
        pa.table({"token_ids": [[100]], "when": when}), tmp_path / "in.parquet"
    )
    with pytest.raises(FileError, match=r"Cannot read .*in\.parquet: "):
        score_file(client, tmp_path / "in.parquet", tmp_path / "out.jsonl")


@pytest.mark.parametrize("name", ["out.arrow", "out.parquet", "out/"])
def test_batches_with_other_dictionaries(client: RewardClient, tmp_path: Path, name: str) -> None:
    batches = [
        pa.record_batch({"token_ids": [[100]] * 2, "kind": pa.array(kinds).dictionary_encode()})
        for kinds in (["a", "b"], ["z", "y"])
    ]
    with pyarrow.ipc.new_stream(str(tmp_path / "in.arrow"), batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    score_file(client, tmp_path / "in.arrow", f"{tmp_path}/{name}")
    assert [row["kind"] for row in READERS[name](tmp_path / name)] == ["a", "b", "z", "y"]


READERS: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "out.arrow": lambda path: pyarrow.feather.read_table(path).to_pylist(),
    "out.parquet": lambda path: pyarrow.parquet.read_table(path).to_pylist(),
    "out/": lambda path: datasets.load_from_disk(path).to_list(),
    "out.json": lambda path: json.loads(path.read_text()),
    "out.csv": lambda path: [*csv.DictReader(io.StringIO(path.read_text(), newline=""))],
    "out.jsonl": lambda path: read_rows(path),
}
NO_ROWS: dict[str, bytes] = {
    "in.jsonl": b"",
    "in.json": b"[]",
    "in.csv": b"token_ids,note\n",
    "in.jsonl.gz": gzip.compress(b""),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("source", [*NO_ROWS, "in.parquet", "in.arrow"])
def test_no_rows(client: RewardClient, tmp_path: Path, source: str, name: str) -> None:
    path = tmp_path / source
    if source == "in.parquet":
        pyarrow.parquet.write_table(table().slice(0, 0), path)
    elif source == "in.arrow":
        pyarrow.ipc.new_stream(str(path), table().schema).close()
    else:
        path.write_bytes(NO_ROWS[source])
    for _ in range(2):
        assert score_file(client, path, f"{tmp_path}/{name}").rows == 0
        assert READERS[name](tmp_path / name) == []


@pytest.mark.parametrize("name", ["out.parquet", "out.arrow", "out/"])
def test_rows_without_columns(client: RewardClient, tmp_path: Path, name: str) -> None:
    (tmp_path / "in.jsonl").write_text("no JSON\n{}\n")
    assert score_file(client, tmp_path / "in.jsonl", f"{tmp_path}/{name}").failed == 2
    assert [row["error"]["type"] for row in READERS[name](tmp_path / name)] == ["InputError"] * 2


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "out/"])
def test_an_output_in_the_folder_of_the_input(
    client: RewardClient, fake: FakeVllm, tmp_path: Path, name: str
) -> None:
    write_rows(tmp_path / "in.jsonl", ROWS)
    with pytest.raises(FileError, match="it is in the input folder"):
        score_file(client, tmp_path, f"{tmp_path}/{name}")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_files_of_others_in_a_data_set_stay(client: RewardClient, tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in.jsonl", ROWS)
    score_file(client, source, f"{tmp_path}/out/")
    (tmp_path / "out" / "cache-1.arrow").write_bytes(b"x")
    score_file(client, source, f"{tmp_path}/out/")
    (tmp_path / "out" / "README.md").write_text("mine")
    with pytest.raises(FileError, match=r"holds README\.md"):
        score_file(client, source, f"{tmp_path}/out/")
    assert (tmp_path / "out" / "README.md").read_text() == "mine"


def test_folders_in_a_folder_are_not_left_out(client: RewardClient, tmp_path: Path) -> None:
    (tmp_path / "in" / "part=1").mkdir(parents=True)
    write_rows(tmp_path / "in" / "a.jsonl", ROWS)
    write_rows(tmp_path / "in" / "_hidden.jsonl", ROWS)
    assert score_file(client, tmp_path / "in", tmp_path / "out.jsonl").rows == 25
    write_rows(tmp_path / "in" / "part=1" / "b.jsonl", ROWS)
    with pytest.raises(FileError, match="its folder part=1 holds data too"):
        score_file(client, tmp_path / "in", tmp_path / "out.jsonl")
