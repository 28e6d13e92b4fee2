"""A process that is killed in the middle of it, and started again."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from ..support.raw_server import RawServer, answer
from .conftest import read_rows
from .killing import finish, kill_and_compare, lines, score, write_input

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
