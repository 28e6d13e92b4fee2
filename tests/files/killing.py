"""Scores a file while the process is killed again and again, and compares with an undisturbed run.

    python -m tests.files.killing FOLDER [ROWS] [KILLS] [SUFFIX]

SUFFIX is ``.jsonl`` or ``.parquet``, of the input and of the output. The server is scripted:
nothing but the client is at work.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from ..support.raw_server import RawServer, answer

ROOT = Path(__file__).parents[2]
COMMAND = "import sys; from reward_client.cli import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Killed:
    """How a run went: how many rows were there at each kill, and the seconds of both runs."""

    rows_at_kills: list[int]
    torn: int
    undisturbed_seconds: float
    seconds: float


def score(
    folder: Path, output: str, url: str, *options: str, code: str = COMMAND
) -> subprocess.Popen[str]:
    """`reward-client score`, started."""
    source = f"in{Path(output).suffix}"
    return subprocess.Popen(
        [sys.executable, "-c", code, "score", source, output, "--url", url, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(run: subprocess.Popen[str], status: int = 0) -> str:
    out, err = run.communicate()
    assert run.returncode == status, (run.returncode, err)
    return out


def write_input(folder: Path, rows: int, *, seed: int = 1) -> None:
    """Token IDs mostly, and here and there a conversation, several responses, or nonsense."""
    rng = random.Random(seed)
    with (folder / "in.jsonl").open("w", encoding="utf-8") as file:
        for position in range(rows):
            ids = [rng.randrange(50_000) for _ in range(rng.randrange(2, 60))]
            row: dict[str, object] = {"id": f"row-{position}", "token_ids": ids}
            identity = {"id": str(position)}
            if position % 41 == 7:
                row = {**identity, "prompt": f"{position}?", "responses": ["a", "bb", "ccc"]}
            elif position % 97 == 3:
                row = {**identity, "messages": [{"role": "user", "content": f"{position}!"}]}
            elif position % 203 == 5:
                row = {**identity, "text": None}
            file.write(json.dumps(row) + "\n")


def write_parquet(folder: Path) -> None:
    """Write the rows of ``in.jsonl`` as Parquet."""
    with (folder / "in.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    parquet.write_table(pa.table(columns), folder / "in.parquet", row_group_size=1000)


def kill_and_compare(
    folder: Path, rows: int, kills: int, suffix: str = ".jsonl", *, sig: int = signal.SIGKILL
) -> Killed:
    """Runs once undisturbed, and once with kills at random moments, spread over the rows.

    Raises:
        AssertionError: The two files differ, or a row is not there exactly once.
    """
    assert not any(folder.iterdir()), "the folder is not empty"
    write_input(folder, rows)
    if suffix == ".parquet":
        write_parquet(folder)
    rng = random.Random(2)
    with RawServer(answer) as server:
        url = server.url
        started = time.monotonic()
        finish(score(folder, f"whole{suffix}", url), 3)
        undisturbed = time.monotonic() - started
        output = folder / f"out{suffix}"
        results = output if suffix == ".jsonl" else folder / f"{output.name}.rewards.jsonl"
        at_kills: list[int] = []
        torn = 0
        started = time.monotonic()
        for left in range(kills, 0, -1):
            there = lines(results)
            run = score(folder, output.name, url)
            # Some way into what is left, so that the next ones find a run under way too; then a
            # moment that has nothing to do with the end of a row.
            wanted = there + rng.uniform(0.1, 1) * (rows - there) / (left + 1)
            written = _Growing(results)
            while written.lines() < wanted and run.poll() is None:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.02))
            run.send_signal(sig)
            _, err = run.communicate()
            if run.returncode == 3:  # a busy machine: it was ready before it was killed
                break
            assert run.returncode == (-sig if sig == signal.SIGKILL else 130), err
            at_kills.append(lines(results))
            torn += not results.read_bytes().endswith(b"\n")
        finish(score(folder, output.name, url), 3)
        seconds = time.monotonic() - started
    assert output.read_bytes() == (folder / f"whole{suffix}").read_bytes()
    numbers = [json.loads(line)["row"] for line in results.read_bytes().splitlines()]
    assert numbers == list(range(rows))
    if suffix == ".parquet":
        assert parquet.read_metadata(output).num_rows == rows
    return Killed(at_kills, torn, undisturbed, seconds)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


class _Growing:
    """Counts the lines of a file that another process appends to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = self._lines = 0

    def lines(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                added = file.read()
            self._read += len(added)
            self._lines += added.count(b"\n")
        return self._lines


if __name__ == "__main__":
    _, target, *given = sys.argv
    count, times, kind = [*given, *("50000", "10", ".jsonl")[len(given) :]]
    print(kill_and_compare(Path(target), int(count), int(times), kind))
