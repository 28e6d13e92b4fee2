"""The client's time against the server's, from the figures of the page about benchmarks."""

from __future__ import annotations

import re
from typing import NamedTuple

from .. import pages
from .svg import WIDTH, Drawing

PAGE = pages.DOCS / "explanation" / "benchmarks.md"
_LEFT, _VALUES, _ROW = 8, 96, 40
_MOST = 2_500
"""Microseconds. A longer bar would make the others too short to read."""


class _Competitor(NamedTuple):
    name: str
    total: float
    """Microseconds of wall time a sample."""
    client: float
    """Microseconds of the client's CPU a sample."""


def _competitors() -> list[_Competitor]:
    """Read the rows of the first table about a real vLLM."""
    table = pages.text(PAGE).split("<!-- figures: real -->")[1].split("\n\n**", maxsplit=2)[1]
    rows = re.findall(r"^\| ([^|]+) \| ([\d,]+) \| [^|]+ \| ([\d,.]*) *\|", table, re.MULTILINE)
    return [
        _Competitor(name, 1e6 / _number(speed), _number(client)) for name, speed, client in rows
    ]


def _number(text: str) -> float:
    return float(text.replace(",", "") or 0)


def times() -> str:
    """Draw a bar for each way to score, and the client's CPU as a part of it."""
    competitors = [row for row in _competitors() if "stream" not in row.name]
    shown = [row for row in competitors if row.total <= _MOST]
    beyond = [row for row in competitors if row.total > _MOST]
    scale = (WIDTH - _LEFT - _VALUES) / max(row.total for row in shown)
    drawing = Drawing()
    drawing.box(_LEFT, 4, 12, 12, "client", radius=2)
    drawing.text(_LEFT + 18, 15, "client's CPU", "small soft")
    drawing.box(_LEFT + 112, 4, 12, 12, "rest", radius=2)
    drawing.text(_LEFT + 130, 15, "server, and waiting for it", "small soft")
    drawing.text(WIDTH - 4, 15, "µs a sample", "small soft", anchor="end")
    y = 30
    for row in shown:
        drawing.text(_LEFT, y + 11, row.name, "small ink")
        drawing.box(_LEFT, y + 18, row.total * scale, 11, "rest", radius=2)
        if row.client:
            drawing.box(_LEFT, y + 18, row.client * scale, 11, "client", radius=2)
        own = f" ({row.client:,.0f})" if row.client else ""
        drawing.text(_LEFT + row.total * scale + 6, y + 28, f"{row.total:,.0f}{own}", "small ink")
        y += _ROW
    for row in beyond:
        text = f"Off the scale: {row.name}, {row.total:,.0f} ({row.client:,.0f})"
        drawing.text(_LEFT, y + 11, text, "small soft")
        y += 20
    figures = "; ".join(f"{row.name} {row.total:,.0f}, {row.client:,.0f}" for row in competitors)
    return drawing.svg(
        "times",
        y + 4,
        "Time for each sample on a real vLLM, and the client's part of it",
        f"Microseconds a sample, and the client's CPU of them: {figures}.",
    )
