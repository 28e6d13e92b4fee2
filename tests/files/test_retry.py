"""Failed rows tried again: the file becomes what it would have been without the failures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from reward_client import FileError, Limits, RewardClient, ServerUnreachableError
from reward_client.files import score_file
from reward_client.files.inputs.line import Line
from reward_client.files.results import Results
from reward_client.files.rows import RowReader

from ..support.fake_vllm import FakeVllm
from .conftest import Connect, read_rows, scored_lists, token_rows, write_rows

ROWS = [
    *token_rows(30),
    {"id": "never", "text": ""},
    {"id": "long", "token_ids": [100] * 2000},
    *token_rows(10),
]
FLAKY = {3, 17, 18, 29, 32}  # the last ten rows are those at the start again: 0 and 35 fail too
LISTS = [row.get("token_ids") for row in ROWS]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "in.jsonl", ROWS)


def failing(positions: set[int]) -> Callable[[httpx.Request], httpx.Response | None]:
    """A server that breaks down over some rows."""
    broken = [LISTS[position] for position in positions]

    def before(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/pooling":
            for ids in json.loads(request.content)["input"]:
                if ids in broken:
                    return httpx.Response(400, json={"error": {"message": "no", "code": 400}})
        return None

    return before


@pytest.fixture
def whole(client: RewardClient, fake: FakeVllm, source: Path, tmp_path: Path) -> bytes:
    """The results of a run in which nothing failed that need not have."""
    score_file(client, source, tmp_path / "whole.jsonl")
    fake.requests.clear()
    return (tmp_path / "whole.jsonl").read_bytes()


@pytest.fixture
def flawed(client: RewardClient, fake: FakeVllm, source: Path, output: Path) -> Path:
    fake.before = failing(FLAKY)
    summary = score_file(client, source, output)
    assert summary.failures == {"BadRequestError": 7, "InputError": 1, "PromptTooLongError": 1}
    fake.before = lambda request: None
    fake.requests.clear()
    return output


def leftovers(output: Path) -> list[str]:
    return sorted(path.name for path in output.parent.iterdir() if path.name.startswith("out"))


def test_failed_rows_and_no_others_are_scored_again(
    client: RewardClient, fake: FakeVllm, source: Path, flawed: Path, whole: bytes
) -> None:
    before = read_rows(flawed)
    summary = score_file(client, source, flawed)  # without being told, errors stay
    assert (summary.failed, scored_lists(fake)) == (9, [])
    assert read_rows(flawed) == before
    summary = score_file(client, source, flawed, retry_failed=True)
    assert summary.failures == {"InputError": 1, "PromptTooLongError": 1}
    assert (summary.rows, summary.conversations, summary.kept) == (42, 7, 33)
    failed = [LISTS[row["row"]] for row in before if "error" in row]
    again = {tuple(ids) for ids in failed if ids and len(ids) < 2000}
    assert {tuple(ids) for ids in scored_lists(fake)} == again
    assert flawed.read_bytes() == whole
    assert leftovers(flawed) == ["out.jsonl", "out.jsonl.settings.json"]


def test_the_digest_of_a_row_is_computed_once(
    client: RewardClient, source: Path, flawed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    digest = RowReader.digest

    def counted(self: RowReader, line: Line) -> str:
        computed.append(line.position)
        return digest(self, line)

    monkeypatch.setattr(RowReader, "digest", counted)
    for retry_failed in (False, True):
        score_file(client, source, flawed, retry_failed=retry_failed)
        assert computed == [*range(len(ROWS))]
        computed.clear()


def test_rows_that_fail_again_stay_failed(
    client: RewardClient, fake: FakeVllm, source: Path, flawed: Path, whole: bytes
) -> None:
    fake.before = failing({17})
    summary = score_file(client, source, flawed, retry_failed=True)
    assert summary.failures == {"BadRequestError": 1, "InputError": 1, "PromptTooLongError": 1}
    fake.before = lambda request: None
    score_file(client, source, flawed, retry_failed=True)
    assert flawed.read_bytes() == whole


@pytest.mark.parametrize("told_again", [True, False])
@pytest.mark.parametrize("written", [0, 1, 4, 20, 41])
def test_a_retry_that_was_stopped_is_ended_first(
    connect: Connect,
    fake: FakeVllm,
    source: Path,
    flawed: Path,
    whole: bytes,
    monkeypatch: pytest.MonkeyPatch,
    written: int,
    *,
    told_again: bool,
) -> None:
    before = flawed.read_bytes()
    append, left = Results.append, written

    def interrupted(self: Results, line: bytes) -> None:
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        append(self, line)

    with monkeypatch.context() as patch:
        patch.setattr(Results, "append", interrupted)
        with pytest.raises(KeyboardInterrupt):
            score_file(connect(), source, flawed, retry_failed=True)
    assert flawed.read_bytes() == before
    summary = score_file(connect(), source, flawed, retry_failed=told_again)
    assert summary.rows == len(ROWS)
    assert flawed.read_bytes() == whole
    assert leftovers(flawed) == ["out.jsonl", "out.jsonl.settings.json"]


def test_a_retry_of_results_that_are_not_complete(
    client: RewardClient, fake: FakeVllm, source: Path, flawed: Path, whole: bytes
) -> None:
    """Torn in the middle of a line, with failures before and rows missing behind."""
    flawed.write_bytes(flawed.read_bytes()[:2500])
    kept = [row for row in read_rows_until_torn(flawed) if "error" not in row]
    score_file(client, source, flawed, retry_failed=True)
    assert flawed.read_bytes() == whole
    good = {tuple(LISTS[row["row"]] or ()) for row in kept}
    assert good.isdisjoint(tuple(ids) for ids in scored_lists(fake)[:8])


def read_rows_until_torn(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_a_retry_is_refused_where_another_one_runs(
    client: RewardClient, source: Path, flawed: Path
) -> None:
    with Results(flawed), pytest.raises(FileError, match="another process"):
        score_file(client, source, flawed, retry_failed=True)


def test_a_link_stays_a_link(
    client: RewardClient, source: Path, flawed: Path, whole: bytes, tmp_path: Path
) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(flawed)
    score_file(client, source, link, retry_failed=True)
    assert link.is_symlink()
    assert flawed.read_bytes() == whole


@pytest.mark.parametrize("batches", [0, 3])
def test_a_server_that_is_gone_ends_the_run_and_not_the_rows(
    connect: Connect, fake: FakeVllm, source: Path, output: Path, whole: bytes, batches: int
) -> None:
    """It went away after some requests; a million rows are not written as failures for that."""
    client = connect(limits=Limits(max_batch_items=4))
    client.settings()
    left = batches

    def away(request: httpx.Request) -> httpx.Response | None:
        nonlocal left
        left -= request.url.path == "/pooling"
        if left < 0:
            raise httpx.ConnectError("refused", request=request)
        return None

    fake.before = away
    with pytest.raises(ServerUnreachableError):
        score_file(client, source, output)
    assert whole.startswith(output.read_bytes())
    assert b"error" not in output.read_bytes()
    fake.before = lambda request: None
    score_file(connect(), source, output)
    assert output.read_bytes() == whole


def test_retried_responses_are_scored_as_a_whole(
    connect: Connect, fake: FakeVllm, tmp_path: Path, output: Path
) -> None:
    fake.chat_tokens = [100, 7]
    rows = [{"prompt": "2 + 2?", "responses": ["4", "5"]}]
    source = write_rows(tmp_path / "in.jsonl", rows)
    tokenized = 0

    def second_fails(request: httpx.Request) -> httpx.Response | None:
        nonlocal tokenized
        if request.url.path == "/tokenize" and b"messages" in request.content:
            tokenized += b'"5"' in request.content
            if tokenized == 1 and b'"5"' in request.content:
                return httpx.Response(400, json={"error": {"message": "no", "code": 400}})
        return None

    fake.before = second_fails
    assert score_file(connect(), source, output).failures == {"BadRequestError": 1}
    (row,) = read_rows(output)
    assert row["reward"][0] is not None
    assert row["reward"][1] is None
    assert score_file(connect(), source, output, retry_failed=True).failed == 0
    (row,) = read_rows(output)
    assert None not in row["reward"]
    assert "error" not in row


def test_a_retry_of_nothing_is_a_first_run(
    connect: Connect, source: Path, output: Path, whole: bytes
) -> None:
    """Whoever always says --retry-failed loses nothing."""
    score_file(connect(), source, output, retry_failed=True)
    assert output.read_bytes() == whole


@pytest.mark.parametrize("name", ["out.jsonl.retry", "out.jsonl.settings.json"])
@pytest.mark.parametrize("kind", ["text", "no text", "json", "pipe", "folder", "broken link"])
@pytest.mark.parametrize("begun", [False, True])
def test_43_a_file_of_somebody_else_beside_the_output_stays(
    client: RewardClient, source: Path, output: Path, name: str, kind: str, begun: bool
) -> None:
    beside = output.with_name(name)
    content = {"text": b"my notes\n", "json": b'{"a": 1}', "no text": b""}.get(kind)
    if content is not None:
        beside.write_bytes(content)
    elif kind == "pipe":
        os.mkfifo(beside)
    elif kind == "folder":
        beside.mkdir()
    else:
        beside.symlink_to("nowhere")
    if begun:
        output.touch()
    with pytest.raises(FileError, match=f"Cannot begin .*{name} exists"):
        score_file(client, source, output)
    assert os.path.lexists(beside)
    assert content is None or beside.read_bytes() == content
    assert not begun or output.read_bytes() == b""


def test_43_new_settings_are_written_beside_no_file_of_somebody_else(
    client: RewardClient, source: Path, output: Path
) -> None:
    beside = output.with_name("out.jsonl.settings.json.new")
    beside.write_text("mine")
    score_file(client, source, output)
    assert beside.read_text() == "mine"
    assert len([*output.parent.glob("*.new")]) == 1
