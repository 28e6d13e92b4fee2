"""The charts of a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from reward_client._base.histogram import multiples, round_step
from reward_client._base.wording import shorten
from reward_client._pages.drawing import RIGHT, WIDTH, Axis, Drawing, Plot

_HEIGHT = 270.0
_ROW = 24.0
_LABEL_CHARACTERS = 22
_KINDS = ("first", "second")
"""The first series is a filled area and the second one an outline, so that no colour is needed."""


def whole_percent(share: float) -> str:
    """Return a part of 1 in percent, with as few digits as it needs."""
    return f"{100 * share:.4g}%"


@dataclass(frozen=True, slots=True)
class Interval:
    """A part of 1 with its interval.

    Attributes:
        name: The name of the group.
        value: The part.
        low: The lower bound.
        high: The upper bound.
    """

    name: str
    value: float
    low: float
    high: float


def histogram(
    title: str, edges: Sequence[float], series: Sequence[tuple[str, Sequence[float]]]
) -> Drawing:
    """Draw one or two series of parts of 1 over the same bins.

    Args:
        title: The quantity of the bins, with its unit.
        edges: The edges of the bins.
        series: The name of each series and its part in each bin.
    """
    drawing = Drawing(_HEIGHT)
    highest = max(max(parts) for _, parts in series) or 1.0
    top = multiples(0.0, highest, round_step(highest, 5))[-1]
    x_axis, y_axis = Axis(edges[0], edges[-1], title), Axis(0.0, top, "share", whole_percent)
    plot = Plot(drawing, x_axis, y_axis, y_axis.room(), 34)
    plot.draw_grid()
    for kind, (_, parts) in zip(_KINDS, series, strict=False):
        outline = [plot.at(edges[0], 0.0)]
        for (start, end), part in zip(pairwise(edges), parts, strict=True):
            outline += [plot.at(start, part), plot.at(end, part)]
        drawing.path([*outline, plot.at(edges[-1], 0.0)], f"area {kind}")
    plot.draw_base()
    if len(series) > 1:
        _draw_legend(drawing, [name for name, _ in series])
    return drawing


def intervals(
    title: str, parts: Sequence[Interval], mark: float | None = None, start: float = 0.0
) -> Drawing:
    """Draw parts of 1 with their intervals, one below the other.

    Args:
        title: The quantity.
        parts: The parts, with names.
        mark: A part that is marked across all rows, such as the mean.
        start: The lowest part of the axis.
    """
    drawing = Drawing(_ROW * len(parts) + 56)
    names = [shorten(part.name, _LABEL_CHARACTERS) for part in parts]
    left = min(30 + 6.6 * max(map(len, names)), 170.0)
    plot = Plot(drawing, Axis(start, 1.0, title, whole_percent), Axis(0, 1, ""), left, 8)
    for number, _ in plot.x.ticks():
        x = plot.at_x(number)
        drawing.line(x, plot.top, x, plot.bottom, "grid")
    if mark is not None:
        drawing.line(plot.at_x(mark), plot.top, plot.at_x(mark), plot.bottom, "mark")
    for index, (name, part) in enumerate(zip(names, parts, strict=True)):
        y = plot.top + _ROW * (index + 0.5)
        drawing.text(plot.left - 9, y, name, "name", "end")
        low, high = plot.at_x(part.low), plot.at_x(part.high)
        drawing.line(low, y, high, y, "whisker first")
        for end in (low, high):
            drawing.line(end, y - 4, end, y + 4, "whisker first")
        drawing.dot(plot.at_x(part.value), y, "dot first")
    plot.draw_base()
    return drawing


def calibration(parts: Sequence[tuple[float, Interval]]) -> Drawing:
    """Draw the part of right pairs over the probability that the model gives them.

    Args:
        parts: The mean probability of each bin, and its part of right pairs.
    """
    drawing = Drawing(_HEIGHT + 30)
    lowest = min([0.5, *(math.floor(part.low * 10) / 10 for _, part in parts)])
    x_axis = Axis(0.5, 1.0, "probability of the model's own choice", whole_percent)
    y_axis = Axis(lowest, 1.0, "share of pairs in which the choice is right", whole_percent)
    plot = Plot(drawing, x_axis, y_axis, y_axis.room(), 28)
    plot.draw_grid()
    drawing.path([plot.at(0.5, 0.5), plot.at(1.0, 1.0)], "mark")
    drawing.path([plot.at(probability, part.value) for probability, part in parts], "trace first")
    for probability, part in parts:
        x = plot.at_x(probability)
        drawing.line(x, plot.at_y(part.low), x, plot.at_y(part.high), "whisker first")
        drawing.dot(x, plot.at_y(part.value), "dot first")
    plot.draw_base()
    return drawing


def density(
    titles: tuple[str, str],
    x_edges: Sequence[float],
    y_edges: Sequence[float],
    cells: Sequence[Sequence[int]],
    traces: Sequence[Sequence[tuple[float, float]]],
) -> Drawing:
    """Draw counts over two quantities, darker where there are more.

    Args:
        titles: The quantities, with units.
        x_edges: The edges of the columns.
        y_edges: The edges of the rows.
        cells: The count of each cell: a list of rows for each column.
        traces: Points of lines across the cells, such as the means of the columns.
    """
    drawing = Drawing(_HEIGHT + 50)
    x_axis, y_axis = (
        Axis(edges[0], edges[-1], title)
        for edges, title in zip((x_edges, y_edges), titles, strict=True)
    )
    plot = Plot(drawing, x_axis, y_axis, y_axis.room(), 34)
    plot.draw_grid()
    most = max(map(max, cells)) or 1
    for (left, right), column in zip(pairwise(x_edges), cells, strict=True):
        for (low, high), count in zip(pairwise(y_edges), column, strict=True):
            if count:
                (x, y), (to_x, to_y) = plot.at(left, high), plot.at(right, low)
                # Square root: cells with a few samples stay visible beside those with many.
                opacity = 0.12 + 0.88 * math.sqrt(count / most)
                drawing.box(x, y, to_x - x, to_y - y, "cell", opacity)
    for trace in traces:
        points = [plot.at(*point) for point in trace]
        drawing.path(points, "trace second")
        if len(points) == 1:
            drawing.dot(*points[0], "dot second")
    plot.draw_base()
    _draw_scale(drawing, most)
    return drawing


def _draw_legend(drawing: Drawing, names: Sequence[str]) -> None:
    x = WIDTH - RIGHT
    for kind, name in reversed([*zip(_KINDS, names, strict=False)]):
        x -= 7.2 * len(name) + 18
        drawing.path([(x, 14), (x, 4), (x + 12, 4), (x + 12, 14), (x, 14)], f"area {kind}")
        drawing.text(x + 18, 9, name, "name")
        x -= 12


def _draw_scale(drawing: Drawing, most: int) -> None:
    """Draw the meaning of the shades, at the upper right."""
    last = f"{most:,}"
    x = WIDTH - RIGHT - 9.5 * len(last) - 4
    drawing.text(WIDTH - RIGHT, 9, last, "tick", "end")
    for step in reversed(range(8)):
        x -= 9
        drawing.box(x, 4, 9, 10, "cell", 0.12 + 0.88 * step / 7)
    drawing.text(x - 5, 9, "samples per cell: 1", "tick", "end")
