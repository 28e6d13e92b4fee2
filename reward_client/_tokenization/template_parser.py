"""A conversation as a chat template writes it around contents that are not known."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple, Self

from reward_client._base.samples import Message

_SHOWN = 24

UNKNOWN = "zq0qz"
"""A content that holds nothing of a template's."""

# Letters and digits: no template has a reason to change these.
_UNKNOWN = re.compile(r"zq(\d+)qz")


class Difference(NamedTuple):
    """Where a text is not what a template writes, with a little of both."""

    position: int
    template: str
    text: str

    @classmethod
    def between(cls, template: str, text: str, start: int = 0) -> Self:
        """Of a text from `start` on."""
        same = alike(template, text[start:])
        place = start + same
        return cls(place, template[same : same + _SHOWN], text[place : place + _SHOWN])


def alike(one: str, other: str) -> int:
    """How many characters two texts begin with that are the same."""
    pairs = enumerate(zip(one, other, strict=False))
    different = (place for place, (mine, theirs) in pairs if mine != theirs)
    return next(different, min(len(one), len(other)))


def unknown(roles: Sequence[str]) -> list[Message]:
    """Turns of these roles, whose contents are not known."""
    return [{"role": role, "content": f"zq{place}qz"} for place, role in enumerate(roles)]


def around_unknown(text: str, contents: int) -> list[str] | None:
    """What stands before, between and after the contents of `unknown`, all of them in their order.

    None where a template does otherwise, or has nothing but white space between two of them: a
    text could be parted in many ways.
    """
    parts = _UNKNOWN.split(text)
    pieces, numbers = parts[::2], parts[1::2]
    told_apart = all(piece.strip() for piece in pieces[1:-1])
    return pieces if told_apart and numbers == [*map(str, range(contents))] else None


def joined(pieces: Sequence[str], contents: Sequence[str]) -> str:
    """The text of pieces with contents between them."""
    return "".join(chain.from_iterable(zip(pieces, [*contents, ""], strict=True)))


def contents_between(pieces: Sequence[str], text: str) -> list[str] | Difference:
    """The contents that a text has between the pieces; the last goes on to the text's end."""
    start, *inner, _ = pieces
    if not text.startswith(start):
        return Difference.between(start, text)
    position = len(start)
    contents: list[str] = []
    for piece in inner:
        place = text.find(piece, position)
        if place < 0:
            return Difference.between(piece, text, position)
        contents.append(text[position:place])
        position = place + len(piece)
    return [*contents, text[position:]]
