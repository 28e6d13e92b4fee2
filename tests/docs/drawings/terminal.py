"""The output of a command, as a terminal shows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from reward_client.testing import RewardServer

from .svg import Drawing

_COLUMN, _LINE, _MARGIN, _BAR = 7.8, 18, 14, 30
_CLOCK = re.compile(r"^.* conversations in [\d.]+ s: .*\n", re.MULTILINE)
_PORT = re.compile(r"http://127\.0\.0\.1:\d+")
_URL = "http://localhost:8000"


def demo() -> str:
    """Draw the demo without its last line, which depends on the clock."""
    printed = _CLOCK.sub("", _run("demo", columns=90))
    return _terminal(
        "demo",
        "reward-client demo",
        printed,
        columns=90,
        title="A terminal after reward-client demo",
        description="The demo starts the built-in server and scores pairs of a chosen and a "
        "rejected answer. It prints the rewards of ten pairs, and what a plain client reads. Then "
        "it prints in how many of 200 pairs the chosen answer has the higher reward, and that the "
        "rewards equal the forward pass of the model.",
    )


def doctor() -> str:
    """Draw the doctor's report on a server that was started with the wrong flags."""
    with RewardServer(dialect="0.8") as server:
        printed = _run("doctor", server.url, columns=64)
    return _terminal(
        "doctor",
        f"reward-client doctor {_URL}",
        printed,
        columns=64,
        title="A terminal after reward-client doctor",
        description="The doctor lists its checks of a vLLM 0.8.5 and a verdict for each. The check "
        "of the activation failed: the server answers 1.0 for every input. The doctor names the "
        "server flag that switches the softmax off.",
    )


def _run(*arguments: str, columns: int) -> str:
    """Return the output of a command in a terminal of this width."""
    run = "import sys; from reward_client.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", run, *arguments],
        env={**os.environ, "COLUMNS": str(columns)},
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    return _PORT.sub(_URL, done.stdout)


def _terminal(
    name: str, command: str, printed: str, *, columns: int, title: str, description: str
) -> str:
    lines = [
        line[start : start + columns]  # as terminals do
        for line in printed.rstrip().splitlines()
        for start in range(0, max(len(line), 1), columns)
    ]
    width = columns * _COLUMN + 2 * _MARGIN
    height = _BAR + (len(lines) + 1) * _LINE + _MARGIN
    drawing = Drawing(width)
    drawing.box(0.5, 0.5, width - 1, height - 1, "card line", radius=8)
    for place in range(3):
        drawing.dot(_MARGIN + 6 + 17 * place, 17, "rest")
    y = _BAR + 14
    drawing.screen_line(_MARGIN, y, "$", "client strong", _COLUMN)
    x = _MARGIN + 2 * _COLUMN
    drawing.screen_line(x, y, command, "ink strong", len(command) * _COLUMN)
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        x = _MARGIN + (len(line) - len(line.lstrip())) * _COLUMN
        if text:
            drawing.screen_line(x, y + number * _LINE, text, "ink", len(text) * _COLUMN)
    return drawing.svg(name, height, title, description)
