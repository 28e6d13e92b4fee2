"""The text that a chat template writes around the contents of messages. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple, Self

from reward_client._base.samples import Message
from reward_client._base.sequences import common_prefix_length

_SHOWN_CHARACTERS = 24

PLACEHOLDER = "zq0qz"
"""A content that shares nothing with the text of a template."""

# Letters and digits: no template has a reason to change them.
_PLACEHOLDER = re.compile(r"zq(\d+)qz")


class Difference(NamedTuple):
    """The first position at which a text differs from a template, with an excerpt of both."""

    position: int
    template: str
    text: str

    @classmethod
    def between(cls, template: str, text: str, start: int = 0) -> Self:
        """Compare a template with a text from `start` on."""
        same = common_prefix_length(template, text[start:])
        position = start + same
        return cls(
            position,
            template[same : same + _SHOWN_CHARACTERS],
            text[position : position + _SHOWN_CHARACTERS],
        )


def placeholder_turns(roles: Sequence[str]) -> list[Message]:
    """Return one turn for each role, with a numbered placeholder as its content."""
    return [{"role": role, "content": f"zq{number}qz"} for number, role in enumerate(roles)]


def around_placeholders(text: str, count: int) -> list[str] | None:
    """Split a rendered text at the placeholders of `placeholder_turns`, the last ones in it.

    Args:
        text: The rendered text. The messages before the turns may hold anything.
        count: The number of turns.

    Returns:
        The pieces before, between and after the placeholders. None if the template reorders them,
        or leaves only white space between two of them: such a text has several readings.
    """
    found = [*_PLACEHOLDER.finditer(text)]
    found = found[len(found) - min(count, len(found)) :]
    starts = [0, *(match.end() for match in found)]
    ends = [*(match.start() for match in found), len(text)]
    pieces = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    distinct = all(piece.strip() for piece in pieces[1:-1])
    in_order = [match[1] for match in found] == [*map(str, range(count))]
    return pieces if distinct and in_order else None


def joined(pieces: Sequence[str], contents: Sequence[str]) -> str:
    """Join pieces with the contents between them."""
    return "".join(chain.from_iterable(zip(pieces, [*contents, ""], strict=True)))


def contents_between(pieces: Sequence[str], text: str) -> list[str] | Difference:
    """Return the contents between the pieces in a text; the last one reaches to its end."""
    start, *inner, _ = pieces
    if not text.startswith(start):
        return Difference.between(start, text)
    position = len(start)
    contents: list[str] = []
    for piece in inner:
        found = text.find(piece, position)
        if found < 0:
            return Difference.between(piece, text, position)
        contents.append(text[position:found])
        position = found + len(piece)
    return [*contents, text[position:]]
