"""Shapes and axes of SVG. The style of the page has their colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

from reward_client._base.histogram import round_step
from reward_client._base.wording import shorten
from reward_client._printable import one_line

WIDTH = 440.0
"""Units of the width of a chart. A phone shows some 350 pixels, so 12.5 units stay readable."""
RIGHT = 20.0
"""Room at the right edge, for half of the last label."""
_TICKS = 6
_GRID_LINES = 5
_TITLE_CHARACTERS = 46
_TEXT_HEIGHT = 4.2
"""From the middle of a line of text to its baseline."""


def shown(text: str) -> str:
    """Return a text of the data in one line, without control characters, for HTML and SVG."""
    return escape(one_line(text))


@dataclass
class Drawing:
    """Shapes in a rectangle; y grows downwards.

    Attributes:
        height: The height in units.
        shapes: The elements.
    """

    height: float
    shapes: list[str] = field(default_factory=list[str])

    def text(self, x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> None:
        """Write a line of text, with the middle of its height at y."""
        kind = f' class="{kind}"' if kind else ""
        place = f'x="{x:.1f}" y="{y + _TEXT_HEIGHT:.1f}" text-anchor="{anchor}"'
        self.shapes.append(f"<text{kind} {place}>{shown(text)}</text>")

    def line(self, x: float, y: float, to_x: float, to_y: float, kind: str) -> None:
        """Draw a straight line."""
        ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
        self.shapes.append(f'<line class="{kind}" {ends}/>')

    def box(
        self, x: float, y: float, width: float, height: float, kind: str, opacity: float = 1
    ) -> None:
        """Draw a rectangle."""
        size = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        faint = f' fill-opacity="{opacity:.3f}"' if opacity < 1 else ""
        self.shapes.append(f'<rect class="{kind}" {size}{faint}/>')

    def dot(self, x: float, y: float, kind: str) -> None:
        """Draw a dot."""
        self.shapes.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')

    def path(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Draw a line through points."""
        steps = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.shapes.append(f'<path class="{kind}" d="M{steps}"/>')


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of numbers.

    Attributes:
        low: The number at its start.
        high: The number at its end.
        title: Its quantity, with the unit.
        label: Formats the number of a tick; None for numbers with as many digits as they need.
    """

    low: float
    high: float
    title: str
    label: Callable[[float], str] | None = None

    def ticks(self, most: int = _TICKS) -> list[tuple[float, str]]:
        """Return at most so many round numbers on the axis, one more at times, with labels."""
        step = round_step(self.high - self.low, most)
        first = -(-(self.low - step * 1e-9) // step)
        last = (self.high + step * 1e-9) // step
        numbers = [index * step for index in range(int(first), int(last) + 1)]
        return [(number, self._shown(number, step)) for number in numbers]

    def place(self, value: float, start: float, end: float) -> float:
        """Return the position of a number on an axis from start to end, at most at its ends."""
        share = (value - self.low) / (self.high - self.low)
        return start + (end - start) * min(max(share, 0.0), 1.0)

    def room(self) -> float:
        """Return the width of the labels if the axis is vertical."""
        return 14 + 8.2 * max(len(label) for _, label in self.ticks(_GRID_LINES))

    def _shown(self, number: float, step: float) -> str:
        if self.label is not None:
            return self.label(number)
        if abs(number) >= 1e6 or step < 1e-4:
            return f"{number:.4g}"
        digits = next(count for count in range(6) if round(step, count) == step or count == 5)
        return f"{number + 0.0:,.{digits}f}"


@dataclass(frozen=True, slots=True)
class Plot:
    """A rectangle between two axes.

    Attributes:
        drawing: The shapes.
        x: The horizontal axis.
        y: The vertical axis.
        left: The left edge; the right edge is near the end of the drawing.
        top: The upper edge; below the lower edge is room for the axis.
    """

    drawing: Drawing
    x: Axis
    y: Axis
    left: float
    top: float

    @property
    def right(self) -> float:
        """The right edge."""
        return WIDTH - RIGHT

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.drawing.height - 42

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the position of a point."""
        return self.at_x(x), self.at_y(y)

    def at_x(self, x: float) -> float:
        """Return the horizontal position of a number."""
        return self.x.place(x, self.left, self.right)

    def at_y(self, y: float) -> float:
        """Return the vertical position of a number."""
        return self.y.place(y, self.bottom, self.top)

    def draw_grid(self) -> None:
        """Draw a line for each tick of the vertical axis."""
        for number, label in self.y.ticks(_GRID_LINES):
            y = self.at_y(number)
            self.drawing.line(self.left, y, self.right, y, "grid")
            self.drawing.text(self.left - 7, y, label, "tick", "end")
        self.drawing.text(2, 9, self.y.title, "axis")

    def draw_base(self) -> None:
        """Draw the horizontal axis."""
        self.drawing.line(self.left, self.bottom, self.right, self.bottom, "base")
        for number, label in self.x.ticks():
            x = self.at_x(number)
            self.drawing.line(x, self.bottom, x, self.bottom + 4, "base")
            self.drawing.text(x, self.bottom + 14, label, "tick", "middle")
        middle = (self.left + self.right) / 2
        title = shorten(self.x.title, _TITLE_CHARACTERS)
        self.drawing.text(middle, self.drawing.height - 9, title, "axis", "middle")
