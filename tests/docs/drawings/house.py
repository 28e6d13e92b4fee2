"""The folders of the package from top to bottom, as the import contract has them."""

from __future__ import annotations

import tomllib

from .. import pages
from .svg import WIDTH, Drawing

# The contents in a few words; short where several packages share a row.
CONTENTS = {
    "cli": "the command reward-client",
    "gateway": "for trainers, by HTTP",
    "integrations": "other frameworks",
    "_integrations": "what they share",
    "evaluation": "published benchmarks",
    "report": "a page on a scored file",
    "export": "checkpoints rewritten",
    "files": "files scored",
    "_client": "RewardClient and AsyncRewardClient",
    "_rows": "rows of data sets, and their rewards",
    "_doctor": "each step of a server, checked",
    "_scoring": "prompts in, rewards out; batches",
    "_replicas": "which server gets which work",
    "_server": "what a server is, and how to ask it",
    "methods": "definitions of a reward",
    "recipes": "facts about models",
    "_tokenization": "prompts to token IDs",
    "_transport": "HTTP, retries",
    "heads": "pooled output to rewards",
    "_protocols": "requests, responses of vLLM",
    "_telemetry": "counts, durations",
    "_pages": "HTML with charts",
    "_base": "samples, results, options",
    "errors": "every error",
    "testing": "a reward server, apart from all this",
}
_GAP, _LEFT, _BESIDE = 6, 26, 132


def layers() -> list[list[str]]:
    """Return the packages of each row of the contract."""
    project = tomllib.loads(pages.text(pages.ROOT / "pyproject.toml"))
    rows = project["tool"]["importlinter"]["contracts"][0]["layers"]
    return [
        [package.removeprefix("reward_client.") for package in row.split(" | ")] for row in rows
    ]


def house() -> str:
    """Draw the map; public packages are blue."""
    drawing, y = Drawing(), 20
    drawing.text(_LEFT, 14, "reward_client", "strong ink mono")
    for row in layers():
        for start in range(0, len(row), 2):
            pair = row[start : start + 2]
            width = (WIDTH - _LEFT - 1 - _GAP * (len(pair) - 1)) / len(pair)
            height = 28 if len(pair) == 1 else 42
            for place, package in enumerate(pair):
                _room(drawing, _LEFT + place * (width + _GAP), y, width, height, package)
            y += height + (_GAP if start + 2 >= len(row) else 3)
    drawing.arrow(10, 24, 10, y - _GAP)
    y += 6
    _room(drawing, _LEFT, y, WIDTH - _LEFT - 1, 28, "testing")
    y += 48
    drawing.box(_LEFT, y - 10, 12, 12, "client-ground client-line", radius=3)
    drawing.text(_LEFT + 18, y, "public", "soft small")
    drawing.box(_LEFT + 74, y - 10, 12, 12, "card line", radius=3)
    drawing.text(_LEFT + 92, y, "private", "soft small")
    drawing.text(WIDTH - 1, y, "imports point down only", "soft small", anchor="end")
    rows = "; ".join(" and ".join(row) for row in layers())
    return drawing.svg(
        "house",
        y + 8,
        "The packages of reward_client, from top to bottom",
        f"A package imports only from those below it. From the top: {rows}. "
        "The test server, testing, knows nothing of the client.",
    )


def _room(drawing: Drawing, x: float, y: float, width: float, height: float, package: str) -> None:
    is_private = package.startswith("_")
    drawing.box(x, y, width, height, "card line" if is_private else "client-ground client-line")
    name = "strong mono ink" if is_private else "strong mono client"
    drawing.text(x + 9, y + 18, package, name)
    if height > 28:
        drawing.text(x + 9, y + 34, CONTENTS[package], "soft small")
    else:
        drawing.text(x + _BESIDE, y + 18, CONTENTS[package], "soft small")
