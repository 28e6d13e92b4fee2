"""Scores a file while the process is killed again and again, and compares with an undisturbed run.

    python -m tests.files.killing FOLDER [ROWS] [KILLS]

The server is scripted: nothing but the client is at work.
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


def score(folder: Path, output: str, url: str, *options: str) -> subprocess.Popen[str]:
    """`reward-client score`, started."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, "score", "in.jsonl", output, "--url", url, *options],
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
            if position % 41 == 7:
                row = {"id": position, "prompt": f"{position}?", "responses": ["a", "bb", "ccc"]}
            elif position % 97 == 3:
                row = {"id": position, "messages": [{"role": "user", "content": f"{position}!"}]}
            elif position % 203 == 5:
                row = {"id": position, "text": None}
            file.write(json.dumps(row) + "\n")


def kill_and_compare(folder: Path, rows: int, kills: int, *, sig: int = signal.SIGKILL) -> Killed:
    """Runs once undisturbed, and once with kills at random moments, spread over the rows.

    Raises:
        AssertionError: The two files differ, or a row is not there exactly once.
    """
    assert not any(folder.iterdir()), "the folder is not empty"
    write_input(folder, rows)
    rng = random.Random(2)
    with RawServer(answer) as server:
        url = server.url
        started = time.monotonic()
        finish(score(folder, "whole.jsonl", url), 3)
        undisturbed = time.monotonic() - started
        output = folder / "out.jsonl"
        at_kills: list[int] = []
        torn = 0
        started = time.monotonic()
        for left in range(kills, 0, -1):
            there = lines(output)
            run = score(folder, "out.jsonl", url)
            # Some way into what is left, so that the next ones find a run under way too; then a
            # moment that has nothing to do with the end of a row.
            wanted = there + rng.uniform(0.1, 1) * (rows - there) / (left + 1)
            while lines(output) < wanted and run.poll() is None:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.02))
            run.send_signal(sig)
            _, err = run.communicate()
            if run.returncode == 3:  # a busy machine: it was ready before it was killed
                break
            assert run.returncode == (-sig if sig == signal.SIGKILL else 130), err
            at_kills.append(lines(output))
            torn += not output.read_bytes().endswith(b"\n")
        finish(score(folder, "out.jsonl", url), 3)
        seconds = time.monotonic() - started
    content = output.read_bytes()
    assert content == (folder / "whole.jsonl").read_bytes()
    assert [json.loads(line)["row"] for line in content.splitlines()] == list(range(rows))
    return Killed(at_kills, torn, undisturbed, seconds)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[2:]]
    print(kill_and_compare(Path(sys.argv[1]), *(numbers or [50_000, 10])))
