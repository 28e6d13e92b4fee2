"""Going on where a run stopped: nothing twice, nothing lost, nothing mixed."""

from __future__ import annotations

import fcntl
import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from reward_client import FileError, ObjectiveHead, RetryPolicy, RewardClient, ScalarHead
from reward_client._client import watch
from reward_client.files import score_file
from reward_client.files.results import Results

from ..support.fake_vllm import FakeVllm, card
from .conftest import Connect, read_rows, scored_lists, token_rows, value_of, write_rows


@pytest.fixture
def whole(client: RewardClient, fake: FakeVllm, source: Path, tmp_path: Path) -> bytes:
    """The results of a run that nothing disturbed."""
    score_file(client, source, tmp_path / "whole.jsonl")
    fake.requests.clear()
    return (tmp_path / "whole.jsonl").read_bytes()


@pytest.fixture
def begun(client: RewardClient, fake: FakeVllm, source: Path, output: Path) -> Path:
    """Results of which the last 25 rows are missing, and their settings."""
    score_file(client, source, output)
    output.write_bytes(b"".join(output.read_bytes().splitlines(keepends=True)[:15]))
    fake.requests.clear()
    return output


def test_from_every_state_that_a_kill_can_leave(
    client: RewardClient,
    fake: FakeVllm,
    source: Path,
    output: Path,
    whole: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "_MANY", 10_000)  # a proof scores some again
    score_file(client, source, output)
    lines = whole.splitlines(keepends=True)
    ends = {sum(map(len, lines[:n])) for n in range(len(lines) + 1)}
    random.seed(5)
    for cut in sorted(ends | set(random.sample(range(len(whole)), 60))):
        output.write_bytes(whole[:cut])
        fake.requests.clear()
        summary = score_file(client, source, output)
        assert output.read_bytes() == whole
        kept = whole[:cut].count(b"\n")
        assert (summary.rows, summary.kept) == (40, kept)
        assert sorted(scored_lists(fake)) == sorted(
            row["token_ids"] for row in token_rows(40)[kept:]
        )


def test_zeros_at_the_end_are_no_result(
    client: RewardClient, source: Path, begun: Path, whole: bytes
) -> None:
    """A power failure can leave a file that was made longer before its content came."""
    begun.write_bytes(begun.read_bytes() + bytes(100))
    score_file(client, source, begun)
    assert begun.read_bytes() == whole


def test_stopped_by_an_exception_of_the_caller(
    connect: Connect,
    fake: FakeVllm,
    source: Path,
    output: Path,
    whole: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was written when Ctrl-C came stays; what was in flight is dropped."""
    append, count = Results.append, 0

    def interrupted(self: Results, line: bytes) -> None:
        nonlocal count
        count += 1
        if count % 7 == 0:
            raise KeyboardInterrupt
        append(self, line)

    monkeypatch.setattr(Results, "append", interrupted)
    for run in range(1, 7):
        with pytest.raises(KeyboardInterrupt):
            score_file(connect(), source, output)
        assert output.read_bytes() == b"".join(whole.splitlines(keepends=True)[: run * 6])
    score_file(connect(), source, output)
    assert output.read_bytes() == whole


def test_rows_that_came_later_are_gone_on_with(
    client: RewardClient, fake: FakeVllm, source: Path, output: Path
) -> None:
    score_file(client, source, output)
    fake.requests.clear()
    write_rows(source, token_rows(43))
    assert score_file(client, source, output).rows == 43
    assert len(scored_lists(fake)) == 3
    assert [row["row"] for row in read_rows(output)] == list(range(43))


def _edit(rows: list[Any]) -> None:
    rows[9]["token_ids"][0] += 1


def _swap(rows: list[Any]) -> None:
    rows[3], rows[4] = rows[4], rows[3]


def _rename(rows: list[Any]) -> None:
    rows[14]["id"] = "another"


def _insert(rows: list[Any]) -> None:
    rows.insert(0, {"text": "new"})


def _cut(rows: list[Any]) -> None:
    del rows[10:]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_edit, "row 9 of"),
        (_swap, "row 3 of"),
        (_rename, "row 14 of"),
        (_insert, "row 0 of"),
        (_cut, "it has more results than"),
    ],
)
def test_another_input_is_refused(
    client: RewardClient,
    fake: FakeVllm,
    source: Path,
    begun: Path,
    change: Callable[[list[Any]], None],
    says: str,
) -> None:
    before = begun.read_bytes()
    rows = token_rows(40)
    change(rows)
    write_rows(source, rows)
    for retry_failed in (False, True):
        with pytest.raises(FileError, match=says):
            score_file(client, source, begun, retry_failed=retry_failed)
        begun.with_name("out.jsonl.retry").unlink(missing_ok=True)
    assert begun.read_bytes() == before


def _two_labels(ids: list[int]) -> list[float]:
    return [*value_of(ids), -70.0]


@pytest.mark.parametrize(
    ("server", "options", "says"),
    [
        ({"version": "0.31.0"}, {}, "server_version was '0.32.0' and is '0.31.0'"),
        ({"cards": [card("other")]}, {}, "model was 'judge' and is 'other'"),
        ({"cards": [card("judge", root="elsewhere")]}, {}, "root was 'root' and is 'elsewhere'"),
        ({"pool": lambda ids: [value_of(ids)[0] + 9]}, {}, "another checkpoint under the same"),
        ({}, {"bos": False}, "bos was None and is False"),
        ({}, {"on_overlong": "drop_turns"}, "on_overlong was 'raise'"),
        ({}, {"head": ObjectiveHead(["x"])}, "head was 'scalar' and is '1 obj"),
    ],
    ids=["version", "model", "root", "weights", "bos", "overlong", "head"],
)
def test_another_model_or_setting_is_refused(
    connect: Connect, source: Path, begun: Path, server: Any, options: Any, says: str
) -> None:
    before = begun.read_bytes()
    client = connect(FakeVllm(**{"pool": value_of, **server}), **options)
    for retry_failed in (False, True):
        with pytest.raises(FileError, match=says):
            score_file(client, source, begun, retry_failed=retry_failed)
    assert begun.read_bytes() == before
    assert not begun.with_name("out.jsonl.retry").exists()


def test_a_head_with_other_numbers_is_another_head(
    connect: Connect, source: Path, output: Path
) -> None:
    """Both are described in the same words."""
    server = FakeVllm(pool=_two_labels)
    heads = [ObjectiveHead(2, {"label_0": weight}) for weight in (1.0, 2.0)]
    score_file(connect(server, head=heads[0]), source, output)
    score_file(connect(server, head=heads[0]), source, output)
    with pytest.raises(FileError, match="head_digest"):
        score_file(connect(server, head=heads[1]), source, output)


def test_what_says_the_same_is_the_same(connect: Connect, source: Path, begun: Path) -> None:
    """The server's noise, its address and limits, and how it is asked, change no reward."""
    noisy = FakeVllm(
        pool=lambda ids: [value_of(ids)[0] * 1.001],
        cards=[{**card("judge"), "max_model_len": 512}],
    )
    assert score_file(connect(noisy, head=ScalarHead()), source, begun).kept == 15


# A server that is gone through all attempts ends a run; these come back.
AGAIN = RetryPolicy(attempts=3, max_wait=0.01)


class Replaced(FakeVllm):
    """After some packs another server comes up behind the same address."""

    def __init__(self, **after: Any) -> None:
        super().__init__(pool=value_of)
        self.before = self._replace
        self._after = after
        self._batcher = 0

    def _replace(self, request: httpx.Request) -> None:
        if request.url.path != "/pooling" or json.loads(request.content)["input"][0][0] < 100:
            return
        self._batcher += 1
        if self._batcher == 8:
            for name, value in self._after.items():
                setattr(self, name, value)
            raise httpx.ConnectError("refused", request=request)


@pytest.mark.parametrize(
    ("after", "says"),
    [
        ({"pool": lambda ids: [value_of(ids)[0] + 9]}, "another checkpoint"),
        ({"cards": [card("other")]}, "model was 'judge' and is 'other'"),
        ({"version": "0.31.0"}, "server_version"),
    ],
    ids=["weights", "model", "version"],
)
def test_another_model_during_the_run_ends_it(
    connect: Connect, tmp_path: Path, output: Path, after: Any, says: str
) -> None:
    rows = token_rows(400)
    source = write_rows(tmp_path / "in.jsonl", rows)
    with pytest.raises(FileError, match="with another server") as caught:
        score_file(connect(Replaced(**after), retry=AGAIN), source, output)
    assert says in str(caught.value)
    written = [row for row in read_rows(output) if "reward" in row]
    assert written
    for row in written:
        assert row["reward"] == value_of(rows[row["row"]]["token_ids"])[0]
    # The server of before goes on with it, and gives what was refused meanwhile.
    score_file(connect(), source, output, retry_failed=True)
    assert [row["reward"] for row in read_rows(output)] == [
        value_of(row["token_ids"])[0] for row in rows
    ]


def test_a_server_that_was_away_for_a_moment_is_no_other(
    connect: Connect, tmp_path: Path, output: Path
) -> None:
    source = write_rows(tmp_path / "in.jsonl", token_rows(400))
    summary = score_file(connect(Replaced(), retry=AGAIN), source, output)
    assert summary.rows == 400


@pytest.mark.parametrize(
    "content",
    [b"1,2,3\n", b"something of mine", b'{"prompt": "x"}\n', b"\n", b'{"row":1,"reward":2}\n'],
)
@pytest.mark.parametrize("has_settings", [True, False])
def test_a_file_of_somebody_else_is_never_written_to(
    client: RewardClient, source: Path, output: Path, content: bytes, *, has_settings: bool
) -> None:
    if has_settings:
        score_file(client, source, output)
    output.write_bytes(content)
    for retry_failed in (False, True):
        with pytest.raises(FileError, match=r"out\.jsonl"):
            score_file(client, source, output, retry_failed=retry_failed)
        assert output.read_bytes() == content


@pytest.mark.parametrize("line", [b"", b"{}", b'{"row":3}', b"\0" * 20, b"\xff", b"[" * 3000])
def test_a_damaged_line_is_found(
    client: RewardClient, source: Path, begun: Path, line: bytes
) -> None:
    lines = begun.read_bytes().splitlines()
    lines[3] = line
    begun.write_bytes(b"".join(each + b"\n" for each in lines))
    with pytest.raises(FileError, match="its line 4 is not a result"):
        score_file(client, source, begun)


def test_results_beside_the_settings_of_others_are_found_out(
    connect: Connect, source: Path, begun: Path, tmp_path: Path
) -> None:
    other = connect(bos=False)
    score_file(other, source, tmp_path / "other.jsonl")
    (tmp_path / "other.jsonl").write_bytes(begun.read_bytes())
    with pytest.raises(FileError, match="row 0 of"):
        score_file(other, source, tmp_path / "other.jsonl")


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"model": 5}'])
def test_settings_that_cannot_be_read_are_refused(
    client: RewardClient, source: Path, begun: Path, content: bytes
) -> None:
    begun.with_name("out.jsonl.settings.json").write_bytes(content)
    with pytest.raises(FileError, match=r"out.jsonl.settings.json.*cannot be read"):
        score_file(client, source, begun)


def test_an_empty_output_is_begun_with_any_settings(
    connect: Connect, source: Path, begun: Path, whole: bytes
) -> None:
    begun.write_bytes(b"")
    score_file(connect(FakeVllm(pool=value_of), bos=False), source, begun)
    assert len(read_rows(begun)) == 40


def test_one_process_at_a_time(client: RewardClient, source: Path, begun: Path) -> None:
    before = begun.read_bytes()
    with Results(begun), pytest.raises(FileError, match="another process is writing"):
        score_file(client, source, begun)
    assert begun.read_bytes() == before
    assert score_file(client, source, begun).rows == 40


def test_the_lock_is_of_the_file_that_has_the_name(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry puts a new file in the place of one that another process has just opened."""
    flock = fcntl.flock
    new = tmp_path / "new"
    new.write_bytes(b"new")

    def late(handle: int, operation: int) -> None:
        with suppress(FileNotFoundError):
            new.replace(begun)
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with Results(begun) as results:
        assert os.path.samestat(os.fstat(results._descriptor), begun.stat())
