"""Files by a judge of two: one contest for each row, resumed to the same bytes."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from datasets import load_from_disk
from pyarrow import feather, parquet

from reward_client import (
    FileError,
    InputError,
    RetryPolicy,
    RewardClient,
    ServerUnreachableError,
)
from reward_client.files import ScoreSummary, score_file
from reward_client.files.results import Stream
from reward_client.files.runner import score_stream

from ..methods.test_verdict import PAIR, better
from ..support.raw_server import RawServer, answering
from ..support.scribe import Scribe
from .conftest import read_rows, write_rows
from .killing import finish, lines, score

METHOD = (
    r"Verdict(r'\[\[(A|B|C)\]\]', 'Q: {conversation}\nA: {response_a}\nB: {response_b}', "
    "values={'A': 1, 'B': -1, 'C': 0})"
)
ROWS = [
    {"prompt": "q", "chosen": "longer", "rejected": "short", "part": "a"},
    {"prompt": "always the first", "chosen": "longer", "rejected": "short", "part": "a"},
    {"prompt": "q", "chosen": "longer silent", "rejected": "short", "part": "b"},
    {"prompt": "q", "chosen": "ab", "rejected": "abc", "part": "b"},
]


def writes(prompt: str, seed: int) -> str:
    if "silent" in prompt:
        return "I cannot tell."
    return "[[A]]" if "always the first" in prompt else better(prompt, seed)


@pytest.fixture
def scribe() -> Scribe:
    return Scribe(writes)


@pytest.fixture
def client(scribe: Scribe) -> Iterator[RewardClient]:
    once = RetryPolicy(attempts=1)
    with RewardClient("http://vllm", transport=scribe.transport(), method=PAIR, retry=once) as it:
        yield it


def scored(
    client: RewardClient, folder: Path, rows: list[Any] = ROWS, name: str = "out.jsonl"
) -> ScoreSummary:
    return score_file(client, write_rows(folder / "in.jsonl", rows), folder / name, by="part")


def test_a_file_has_what_score_rows_gives(client: RewardClient, tmp_path: Path) -> None:
    summary = scored(client, tmp_path)
    given = client.score_rows(ROWS)
    for row, wanted in zip(read_rows(tmp_path / "out.jsonl"), given, strict=True):
        del row["row"], row["digest"]
        assert {"error": None, **row} == wanted
    assert (summary.rows, dict(summary.failures)) == (4, {"GenerationError": 1})
    assert summary.pairs is not None
    # A pair is right, one is a tie, and one is wrong.
    assert (summary.pairs.count, summary.pairs.accuracy, summary.pairs.ties) == (3, 0.5, 1)
    assert summary.pairs.margin == pytest.approx(0)
    assert [(group.name, group.mean) for group in summary.groups] == [("a", 0.5), ("b", 0.5)]
    assert (summary.comparisons, summary.failed_comparisons) == (8, 2)


@pytest.mark.parametrize("name", ["out.parquet", "out.arrow", "out.csv", "out/"])
def test_other_formats(client: RewardClient, tmp_path: Path, name: str) -> None:
    rows = [{**row, "chosen": [row["chosen"], "a silent one", "b"]} for row in ROWS]
    score_file(client, write_rows(tmp_path / "in.jsonl", rows), f"{tmp_path}/{name}")
    wanted = client.score_rows(rows)
    path = tmp_path / name
    if name.endswith("csv"):
        assert '"[{""first"":""chosen[0]"",""second"":""chosen[1]"",""preference"":null' in (
            path.read_text()
        )
        return
    reads: Any = {"out.parquet": parquet.read_table, "out.arrow": feather.read_table}
    table = load_from_disk(str(path)) if name == "out/" else reads[name](path)
    got = table.to_list() if name == "out/" else table.to_pylist()
    assert [row["reward"] for row in got] == [row["reward"] for row in wanted]
    for row, each in zip(got, wanted, strict=True):
        expected = [{"error": None, **one} for one in each["comparisons"]]
        assert [{**one} for one in row["comparisons"]] == expected


def test_a_single_response_is_refused_before_anything_is_written(
    client: RewardClient, tmp_path: Path, scribe: Scribe
) -> None:
    rows = [{"prompt": "q", "response": "a", "part": "a"}, *ROWS]
    with pytest.raises(InputError, match="compares two responses: it has a single one"):
        scored(client, tmp_path, rows)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    assert scored(client, tmp_path, [ROWS[0], *rows]).failures["InputError"] == 1


def test_into_a_stream(client: RewardClient, tmp_path: Path) -> None:
    single = write_rows(tmp_path / "single.jsonl", [{"prompt": "q", "response": "a"}])
    stream = io.BytesIO()
    with pytest.raises(InputError, match="compares two responses: it has a single one"):
        score_stream(client, single, Stream(stream))
    assert stream.getvalue() == b""
    source = write_rows(tmp_path / "in.jsonl", ROWS)
    score_stream(client, source, Stream(stream))
    score_file(client, source, tmp_path / "out.jsonl")
    assert stream.getvalue() == (tmp_path / "out.jsonl").read_bytes()


def test_a_file_without_rows(client: RewardClient, tmp_path: Path) -> None:
    assert score_file(client, write_rows(tmp_path / "in", []), tmp_path / "out").rows == 0


def test_a_first_row_that_cannot_be_read(client: RewardClient, tmp_path: Path) -> None:
    assert scored(client, tmp_path, [{"part": "a"}, *ROWS]).failures["InputError"] == 1


def test_a_judge_that_never_says_a_verdict(client: RewardClient, tmp_path: Path) -> None:
    """A wrong pattern does not cost the texts of a whole file."""
    rows = [{**ROWS[2], "prompt": str(n)} for n in range(300)]
    with pytest.raises(FileError, match=r"its first 100 rows failed alike\. GenerationError"):
        scored(client, tmp_path, rows)
    assert lines(tmp_path / "out.jsonl") == 100


def test_killed_and_resumed(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{n}?", "responses": [*map("a".__mul__, range(1, 2 + n % 3)), "bb"]}
        for n in range(150)
    ]
    write_rows(tmp_path / "in.jsonl", rows)
    output = tmp_path / "out.jsonl"
    with RawServer(answering(Scribe(writes))) as server:
        finish(score(tmp_path, "whole.jsonl", server.url, "--method", METHOD))
        for at in (10, 70):
            run = score(tmp_path, "out.jsonl", server.url, "--method", METHOD)
            while lines(output) < at and run.poll() is None:
                time.sleep(0.005)
            run.kill()
            run.communicate()
            assert at <= lines(output) < len(rows)
        finish(score(tmp_path, "out.jsonl", server.url, "--method", METHOD))
    assert output.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert lines(output) == len(rows)


def test_a_lost_server_ends_the_run_and_no_row_is_half_compared(tmp_path: Path) -> None:
    """Three answers: two comparisons of the second row are done when the server goes."""
    rows = [{"prompt": f"{n}", "responses": ["a", "bb", "ccc"]} for n in range(2)]
    source, target = write_rows(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    texts = 0

    def dies(prompt: str, seed: int) -> str:
        nonlocal texts
        texts += 1
        if texts > 8:
            raise httpx.ConnectError("refused")
        return better(prompt, seed)

    scribe = Scribe(dies)
    options: Any = {"method": PAIR, "retry": RetryPolicy(attempts=1)}
    with RewardClient("http://vllm", transport=scribe.transport(), **options) as client:
        with pytest.raises(ServerUnreachableError):
            score_file(client, source, target)
        assert all(row["reward"] == [0.0, 0.5, 1.0] for row in read_rows(target))
        scribe.writes = better
    with RewardClient("http://vllm", transport=scribe.transport(), **options) as client:
        score_file(client, source, target)
    assert [row["reward"] for row in read_rows(target)] == [[0.0, 0.5, 1.0]] * 2


def test_a_failed_comparison_is_counted_and_scored_again(
    client: RewardClient, tmp_path: Path, scribe: Scribe, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"prompt": "q", "responses": ["a", "bb", "ccc"], "part": str(n)} for n in range(2)]
    scribe.writes = lambda prompt, seed: (
        "?" if "A: a\nB: bb\n" in f"{prompt}\n".replace("<", "\n") else better(prompt, seed)
    )
    source, target = write_rows(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    summary = score_file(client, source, target)
    assert (summary.failed, summary.comparisons, summary.failed_comparisons) == (0, 12, 2)
    assert "2 of 12 comparisons gave no verdict" in str(summary)
    assert "2 of 12 comparisons failed: 2 GenerationError" in caplog.text
    assert score_file(client, source, target).kept == 2
    scribe.writes = better
    again = score_file(client, source, target, retry_failed=True)
    assert (again.kept, again.failed_comparisons) == (0, 0)
    assert [row["reward"] for row in read_rows(target)] == [[0.0, 0.5, 1.0]] * 2
    assert json.loads(target.read_bytes().splitlines()[0])["comparisons"][0]["preference"] == -1
