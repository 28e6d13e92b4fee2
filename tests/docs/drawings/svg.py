"""A few shapes of SVG, in colours for light and dark pages, without fonts from elsewhere."""

from __future__ import annotations

from html import escape
from typing import Literal

Scheme = Literal["light", "dark"]

MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SANS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
WIDTH = 400
"""Pixels. A phone is as wide, so text keeps its size there."""

# The property and the colours of each class: light, dark. Texts have a contrast of 4.5:1 or more.
_COLOURS = {
    "ink": ("fill", "#1f2328", "#e6edf3"),
    "soft": ("fill", "#57606a", "#a3adb8"),
    "client": ("fill", "#0a53b0", "#79b8ff"),
    "server": ("fill", "#953800", "#ffb077"),
    "card": ("fill", "#f6f8fa", "#1b2027"),
    "client-ground": ("fill", "#e3f0ff", "#11253f"),
    "server-ground": ("fill", "#fff0e3", "#3a2413"),
    "rest": ("fill", "#a7b0ba", "#59626d"),
    "line": ("stroke", "#8c959f", "#6e7681"),
    "client-line": ("stroke", "#4a90e2", "#3d7cc9"),
    "server-line": ("stroke", "#e08e45", "#b0702f"),
}
_SHAPES = f""".picture text {{ font: 13px {SANS}; }}
.picture .small {{ font-size: 11.5px; }}
.picture .strong {{ font-weight: 600; }}
.picture .mono {{ font-family: {MONO}; font-size: 12px; }}
.picture .screen {{ font-family: {MONO}; white-space: pre; }}
.picture path {{ fill: none; stroke-width: 1.5; }}"""


def _rules(scheme: Scheme, ground: str = "") -> str:
    place = 1 if scheme == "light" else 2
    return "\n".join(
        f"{ground}.picture .{name} {{ {colours[0]}: {colours[place]}; }}"
        for name, colours in _COLOURS.items()
    )


def style(scheme: Scheme | None = None) -> str:
    """Return the style of a picture, in one scheme or in the reader's."""
    if scheme is not None:
        return f"{_SHAPES}\n{_rules(scheme)}"
    dark = f"@media (prefers-color-scheme: dark) {{\n{_rules('dark')}\n}}"
    return f"{_SHAPES}\n{_rules('light')}\n{dark}"


def site_style() -> str:
    """Return the style of pictures inside a page, which has a switch for its scheme."""
    unless_light = _rules("dark", 'body:not([data-theme="light"]) ')
    return "\n".join(
        [
            "/* Written by `python -m tests.docs.pictures`. */",
            _SHAPES,
            _rules("light"),
            _rules("dark", 'body[data-theme="dark"] '),
            f"@media (prefers-color-scheme: dark) {{\n{unless_light}\n}}",
            "",
        ]
    )


class Drawing:
    """Shapes from top to bottom; coordinates are pixels."""

    def __init__(self, width: float = WIDTH) -> None:
        self.width = width
        self._shapes: list[str] = []

    def text(self, x: float, y: float, text: str, kind: str = "ink", anchor: str = "start") -> None:
        self._shapes.append(
            f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
        )

    def screen_line(self, x: float, y: float, text: str, kind: str, width: float) -> None:
        """Add a line of a terminal, equally wide in every font."""
        self._shapes.append(
            f'<text class="screen {kind}" x="{x:g}" y="{y:g}" xml:space="preserve" '
            f'textLength="{width:g}" lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
        )

    def box(
        self, x: float, y: float, width: float, height: float, kind: str, radius: float = 6
    ) -> None:
        self._shapes.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
            f'rx="{radius:g}"/>'
        )

    def dot(self, x: float, y: float, kind: str) -> None:
        self._shapes.append(f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="5"/>')

    def arrow(self, x: float, y: float, to_x: float, to_y: float, kind: str = "line") -> None:
        """Add a horizontal or a vertical arrow."""
        along_x = (to_x > x) - (to_x < x)
        along_y = (to_y > y) - (to_y < y)
        back_x, back_y = to_x - 6 * along_x, to_y - 6 * along_y
        self._shapes.append(
            f'<path class="{kind}" d="M{x:g} {y:g}L{to_x:g} {to_y:g}'
            f"M{back_x - 4 * along_y:g} {back_y - 4 * along_x:g}L{to_x:g} {to_y:g}"
            f'L{back_x + 4 * along_y:g} {back_y + 4 * along_x:g}"/>'
        )

    def svg(self, name: str, height: float, title: str, description: str) -> str:
        """Return the picture without its style."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="picture {name}" role="img" '
            f'aria-labelledby="{name}-title {name}-text" width="{self.width:g}" '
            f'height="{height:g}" viewBox="0 0 {self.width:g} {height:g}">'
        )
        titles = (
            f'<title id="{name}-title">{escape(title)}</title>',
            f'<desc id="{name}-text">{escape(description)}</desc>',
        )
        return "\n".join([head, *titles, *self._shapes, "</svg>", ""])


def with_style(svg: str, scheme: Scheme | None = None) -> str:
    """Return the picture as a file of its own."""
    return svg.replace("<title", f"<style>\n{style(scheme)}\n</style>\n<title", 1)
