"""Files that are not as they should be, and places that cannot be written to."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reward_client import AsyncRewardClient, FileError, InputError, RewardClient, RewardClientError
from reward_client.files import score_file
from reward_client.files.inputs import json_lines, recognition

from ..support.fake_vllm import FakeVllm
from .conftest import read_rows, token_rows, value_of, write_rows

GOOD = b'{"id": "g", "token_ids": [100, 7]}'
ROOT = Path(__file__).parents[2]


def rewards(path: Path) -> list[Any]:
    rows = read_rows(path)
    return [row["error"]["type"] if "error" in row else row["reward"] for row in rows]


G = value_of([100, 7])[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n\n  \n\t\r\n", []),
        (b"\xef\xbb\xbf", []),
        (GOOD, [G]),
        (b"\n" + GOOD + b"\n\n \n" + GOOD + b"\n\n", [G, G]),
        (b"\xef\xbb\xbf" + GOOD + b"\n" + GOOD + b"\n", [G, G]),
        (GOOD + b"\r\n" + GOOD + b"\r\n", [G, G]),
        (GOOD + b"\n\xff\xfe\n" + GOOD + b"\n", [G, "InputError", G]),
        (b'{"text": "\xe9"}\n' + GOOD, ["InputError", G]),
        (b'{"text": "\\ud800"}\n' + GOOD, ["InputError", G]),
        (b'{"token_ids": [NaN]}\n' + GOOD, ["InputError", G]),
        (b'{"token_ids": [1e999]}\n' + GOOD, ["InputError", G]),
        (b'{"token_ids": [1.0]}\n' + GOOD, ["InputError", G]),
        (GOOD[:-1] + b"\n" + GOOD, ["InputError", G]),
        (GOOD + GOOD + b"\n" + GOOD, ["InputError", G]),
        (b"[" * 100_000 + b"\n" + GOOD, ["InputError", G]),
        (b"\0\0\0\n" + GOOD, ["InputError", G]),
        (GOOD + b"\r" + GOOD + b"\r", ["InputError"]),
        ("".join(map(chr, range(0x2028, 0x202A))).encode() + b"\n" + GOOD, ["InputError", G]),
        (GOOD.decode().encode("utf-16"), ["InputError"]),
        (json.dumps([json.loads(GOOD)] * 2, indent=1).encode(), [G, G]),
        (b"[" + GOOD + b"]", [G]),
        (b" \n[\n" + GOOD + b" , " + GOOD + b"\n]\n", [G, G]),
        (b"[" + GOOD + b", 5, []]", [G, "InputError", "InputError"]),
        (b"[]\n" + GOOD, ["InputError", G]),
        (b"[\n\n]", []),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_odd_files(
    client: RewardClient, tmp_path: Path, output: Path, content: bytes, expected: Any
) -> None:
    source = tmp_path / "in.jsonl"
    for compressed in (False, True):
        source.write_bytes(gzip.compress(content) if compressed else content)
        summary = score_file(client, source, output)
        assert (summary.rows, rewards(output)) == (len(expected), expected)
        before = output.read_bytes()
        score_file(client, source, output)
        assert output.read_bytes() == before
        output.unlink()


def test_a_line_of_10_megabytes(client: RewardClient, tmp_path: Path, output: Path) -> None:
    long = json.dumps({"id": "x" * 10_000_000, "token_ids": [100, 7]}).encode()
    (tmp_path / "in.jsonl").write_bytes(GOOD + b"\n" + long + b"\n" + GOOD)
    score_file(client, tmp_path / "in.jsonl", output)
    assert rewards(output) == [G, G, G]
    assert len(read_rows(output)[1]["id"]) == 10_000_000


@pytest.mark.parametrize("name", ["in.jsonl", "in.json"])
def test_no_value_of_a_key_that_stands_twice_is_chosen(
    client: RewardClient, tmp_path: Path, output: Path, name: str
) -> None:
    lines = [
        GOOD,
        b'{"token_ids": [100, 7], "token_ids": [100, 8]}',
        b'{"messages": [{"role": "user", "content": "a: b", "content" : "c"}]}',
        GOOD,
    ]
    content = b"[" + b",\n".join(lines) + b"]" if name == "in.json" else b"\n".join(lines)
    (tmp_path / name).write_bytes(content)
    score_file(client, tmp_path / name, output)
    assert rewards(output) == [G, "InputError", "InputError", G]
    for row, key in ((1, "token_ids"), (2, "content")):
        message = read_rows(output)[row]["error"]["message"]
        assert message.startswith(f"Cannot read the line: an object has the key {key!r} twice.")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_line_without_end_is_not_read_into_memory(
    client: RewardClient,
    tmp_path: Path,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    compressed: bool,
) -> None:
    for module in (json_lines, recognition):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", 1 << 20)
    lines = [GOOD, b'{"text": "' + b"x" * (5 << 20) + b'"}', GOOD, b'{"text": "' + b"y" * (1 << 20)]
    content = b"\n".join(lines)
    (tmp_path / "in").write_bytes(gzip.compress(content, 1) if compressed else content)
    score_file(client, tmp_path / "in", output)
    assert rewards(output) == [G, "InputError", G, "InputError"]
    assert "longer than 1 MiB" in read_rows(output)[1]["error"]["message"]


def test_gzip_is_known_by_its_content(client: RewardClient, tmp_path: Path, output: Path) -> None:
    for name, compressed in [("in.jsonl.gz", True), ("in.jsonl", True), ("plain.gz", False)]:
        content = (GOOD + b"\n") * 3
        (tmp_path / name).write_bytes(gzip.compress(content) if compressed else content)
        assert score_file(client, tmp_path / name, output).rows == 3


def test_a_broken_gzip_file_costs_nothing_that_came_before(
    client: RewardClient, tmp_path: Path, output: Path
) -> None:
    rows = token_rows(4000)
    whole = write_rows(tmp_path / "in.jsonl.gz", rows).read_bytes()
    (tmp_path / "in.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"Cannot read .*in.jsonl.gz: .*end-of-stream"):
        score_file(client, tmp_path / "in.jsonl.gz", output)
    written = read_rows(output)
    assert len(written) > 1000
    (tmp_path / "in.jsonl.gz").write_bytes(whole)
    summary = score_file(client, tmp_path / "in.jsonl.gz", output)
    assert (summary.rows, summary.kept) == (4000, len(written))


def test_a_gzip_header_before_other_bytes(
    client: RewardClient, tmp_path: Path, output: Path
) -> None:
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(GOOD)[:10] + b"\xff" * 50)
    with pytest.raises(FileError, match=r"Cannot read .*in.jsonl.gz: .*invalid"):
        score_file(client, tmp_path / "in.jsonl.gz", output)


def test_inputs_that_cannot_be_read(client: RewardClient, tmp_path: Path, output: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name, why in [
        ("nothing", "No such file"),
        ("folder", "holds no files of data"),
        ("a\0b", "null"),
    ]:
        with pytest.raises(FileError, match=f"Cannot read .*{why}"):
            score_file(client, tmp_path / name, output)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_input_without_permission(client: RewardClient, source: Path, output: Path) -> None:
    source.chmod(0)
    with pytest.raises(FileError, match="Permission denied"):
        score_file(client, source, output)


def test_input_from_a_pipe(client: RewardClient, tmp_path: Path, output: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    content = (GOOD + b"\n") * 50
    with subprocess.Popen(
        [sys.executable, "-c", f"open({str(pipe)!r}, 'wb').write({content!r})"]
    ) as writer:
        assert score_file(client, pipe, output).rows == 50
    assert writer.returncode == 0


def test_outputs_that_cannot_be_written(
    client: RewardClient, fake: FakeVllm, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").hardlink_to(source)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    before = source.read_bytes()
    for name, why in [
        ("missing/out.jsonl", "does not exist"),
        ("in.jsonl/out.jsonl", "in.jsonl"),
        ("folder", "not a regular file"),
        ("pipe", "not a regular file"),
        ("in.jsonl", "as both input and output"),
        ("link", "as both input and output"),
        ("loop", "oop|symbolic links"),
        ("a\0b", "null"),
        ("x" * 300, "too long"),
    ]:
        with pytest.raises(FileError, match=why):
            score_file(client, source, tmp_path / name)
    assert fake.requests == []
    assert source.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {
        *("folder", "link", "pipe", "loop", "in.jsonl"),
    }


def test_nothing_is_written_where_the_server_cannot_be_found_out(
    source: Path, output: Path
) -> None:
    with RewardClient("http://127.0.0.1:9") as client, pytest.raises(RewardClientError):
        score_file(client, source, output)
    assert not output.exists()


FULL = """
import resource, sys
from reward_client import FileError, RewardClient
from reward_client.files import score_file
sys.path.insert(0, {root!r})
from tests.support.fake_vllm import FakeVllm
from tests.files.conftest import value_of
client = RewardClient("http://fake", transport=FakeVllm(pool=value_of).transport())
client.settings()
if len(sys.argv) > 1:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
try:
    print(score_file(client, "in.jsonl", "out.jsonl"))
except FileError as error:
    print(error)
    sys.exit(1)
"""


def test_a_full_disk_costs_nothing_that_was_written(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", token_rows(300))

    def run(*limit: str) -> tuple[int, str]:
        code = FULL.format(root=str(ROOT))
        done = subprocess.run(
            [sys.executable, "-c", code, *limit],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr

    for limit in ("2000", "9999", "20000"):
        status, said = run(limit)
        assert (status, "File too large. All written results are kept" in said) == (1, True), said
        assert (tmp_path / "out.jsonl").stat().st_size == int(limit)
    status, said = run()
    assert status == 0, said
    assert said.startswith("300 rows: 300 scored, 0 failed; ")
    rows = read_rows(tmp_path / "out.jsonl")
    assert [row["reward"] for row in rows] == [
        value_of(row["token_ids"])[0] for row in token_rows(300)
    ]


@pytest.mark.parametrize(
    "client", ["http://localhost:8000", None, AsyncRewardClient("http://fake")]
)
def test_what_is_no_client(tmp_path: Path, client: Any) -> None:
    with pytest.raises(InputError, match="needs a RewardClient") as caught:
        score_file(client, tmp_path / "in", tmp_path / "out")
    assert "localhost:8000" in str(caught.value)


@pytest.mark.parametrize(("source", "target"), [([[1, 2]], "out"), ("in", None), (3, "out")])
def test_what_is_no_path(source: Any, target: Any) -> None:
    with (
        RewardClient("http://fake") as client,
        pytest.raises(InputError, match=r"Write client\.score_rows\(rows\)"),
    ):
        score_file(client, source, target)
