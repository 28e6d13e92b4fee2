"""The pictures of the documentation: `python -m tests.docs.pictures` draws them from real runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

from . import pages
from .drawings.house import house
from .drawings.svg import Scheme, site_style, with_style
from .drawings.terminal import demo, doctor
from .drawings.times import times
from .drawings.way import way

FOLDER = pages.DOCS / "pictures"
STYLE = pages.DOCS / "_static" / "pictures.css"
PICTURES: dict[str, Callable[[], str]] = {
    "demo": demo,
    "doctor": doctor,
    "house": house,
    "times": times,
    "way": way,
}
# GitHub has a switch of its own, which only files of one scheme follow.
IN_README = ("doctor", "way")


def names(name: str) -> dict[str, Scheme | None]:
    """Return the names of a picture's files, with the scheme of each."""
    fixed: dict[str, Scheme | None] = {f"{name}-light.svg": "light", f"{name}-dark.svg": "dark"}
    return {f"{name}.svg": None} | (fixed if name in IN_README else {})


def files(name: str) -> Iterator[tuple[str, str]]:
    """Yield the names of a picture's files with their contents."""
    svg = PICTURES[name]()
    for file, scheme in names(name).items():
        yield file, with_style(svg, scheme)


def write(*chosen: str) -> None:
    """Draw these pictures, or all."""
    STYLE.write_text(site_style(), encoding="utf-8")
    for name in chosen or PICTURES:
        for file, svg in files(name):
            (FOLDER / file).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    write(*sys.argv[1:])
