"""A process that is killed in the middle of it, and started again."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from pyarrow import parquet

from ..support.raw_server import RawServer, answer
from .conftest import read_rows
from .killing import COMMAND, finish, kill_and_compare, lines, score, write_input, write_parquet

ROWS = 3000


@pytest.mark.parametrize(
    ("sig", "times", "suffix"),
    [(signal.SIGKILL, 4, ".jsonl"), (signal.SIGINT, 2, ".jsonl"), (signal.SIGKILL, 3, ".parquet")],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_killed_several_times(tmp_path: Path, sig: signal.Signals, times: int, suffix: str) -> None:
    run = kill_and_compare(tmp_path, ROWS, times, suffix, sig=sig)
    assert len(run.rows_at_kills) > 1
    assert 0 < run.rows_at_kills[0] < ROWS


def test_two_at_a_time(tmp_path: Path) -> None:
    """One of them is refused, and disturbs nothing."""
    write_input(tmp_path, ROWS)
    with RawServer(answer) as server:
        first = score(tmp_path, "out.jsonl", server.url)
        while not lines(tmp_path / "out.jsonl"):
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        second = score(tmp_path, "out.jsonl", server.url)
        _, err = second.communicate()
        first.send_signal(signal.SIGCONT)
        assert second.returncode == 1
        assert "another process is writing it" in err
        finish(first, 3)
    rows = read_rows(tmp_path / "out.jsonl")
    assert [row["row"] for row in rows] == list(range(ROWS))


PAUSED = """
import time
from pathlib import Path
from reward_client.files import runner
from reward_client.files.outputs import assembly

def pausing(function):
    def paused(*given, **options):
        Path("paused").touch()
        while Path("paused").exists():
            time.sleep(0.01)
        return function(*given, **options)
    return paused

{place} = pausing({place})
"""


@pytest.mark.parametrize(
    ("place", "is_retry"),
    [
        ("runner._ServerMonitor", False),
        ("runner._score_rows", False),
        ("assembly._replace", False),
        ("runner.replace_file", True),
    ],
)
def test_another_process_is_refused_at_any_time(
    tmp_path: Path, place: str, *, is_retry: bool
) -> None:
    """It asks the server for nothing, and changes no file."""
    write_input(tmp_path, 300)
    write_parquet(tmp_path)
    paused = tmp_path / "paused"
    options = ["--retry-failed"] if is_retry else []
    with RawServer(answer) as server:
        if is_retry:
            finish(score(tmp_path, "out.parquet", server.url), 3)
        code = PAUSED.format(place=place) + COMMAND
        first = score(tmp_path, "out.parquet", server.url, *options, code=code)
        while not paused.exists():
            assert first.poll() is None, first.communicate()
            time.sleep(0.01)
        before, requests = contents(tmp_path), len(server.requests)
        second = score(tmp_path, "out.parquet", server.url, *options)
        _, err = second.communicate()
        assert (second.returncode, "another process is writing it" in err) == (1, True), err
        assert (contents(tmp_path), len(server.requests)) == (before, requests)
        paused.unlink()
        finish(first, 3)
    assert parquet.read_metadata(tmp_path / "out.parquet").num_rows == 300
    beside = [f"out.parquet{end}" for end in ("", ".rewards.jsonl", ".settings.json")]
    assert sorted(contents(tmp_path)) == ["in.jsonl", "in.parquet", *beside]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}
