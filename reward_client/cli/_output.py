"""The only place where commands write text for people."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TextIO, TypeAlias

from reward_client._printable import printable

Colour: TypeAlias = Literal["red", "green", "yellow"]

_CODES: Mapping[Colour, int] = {"red": 31, "green": 32, "yellow": 33}
_NONE: Mapping[str, Colour] = MappingProxyType({})


def show(text: object, *, is_error: bool = False, colours: Mapping[str, Colour] = _NONE) -> None:
    """Write a line to stdout, or to stderr for an error.

    Control characters, and characters that the terminal's encoding lacks, become escapes: the text
    may come from a server, a file or a model.

    Args:
        text: The text.
        is_error: True for stderr.
        colours: Colours of words at the start of a line, on a terminal.
    """
    stream = sys.stderr if is_error else sys.stdout
    encoding = stream.encoding or "utf-8"
    line = printable(str(text)).encode(encoding, "backslashreplace").decode(encoding)
    if colours and _shows_colours(stream):
        words = "|".join(map(re.escape, colours))
        line = re.sub(
            rf"(?m)^({words})(?!\S)",
            lambda word: f"\x1b[{_CODES[colours[word[1]]]}m{word[1]}\x1b[0m",
            line,
        )
    print(line, file=stream, flush=True)


def show_error(error: object) -> None:
    """Write the reason why a command ends."""
    show(f"reward-client: {error}", is_error=True, colours={"reward-client:": "red"})


def shows_progress() -> bool:
    """Return True if a progress bar is of use: on a terminal, not in a file or a pipe."""
    return sys.stderr.isatty()


def _shows_colours(stream: TextIO) -> bool:
    """Follow https://no-color.org and https://force-color.org, as Python's own programs do."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"
