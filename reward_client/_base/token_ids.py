"""Token IDs, checked once, with what is made of all of them: their JSON and their digest."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import overload

import orjson

MAX_TOKEN_ID = 2**31 - 1
"""A tokenizer's vocabulary is far below this; a larger value is a mistake, not a token."""

_BYTES = 4


class TokenIds(Sequence[int]):
    """Integers from 0 to `MAX_TOKEN_ID`, made by `checked`.

    They are kept as bytes: as Python's integers, the garbage collector would look at each of the
    millions that may be under way.

    Attributes:
        written: As JSON, as they are sent.
        digest: SHA-256 (hex) of them as little-endian 32-bit integers.
    """

    __slots__ = ("_packed", "digest", "written")

    def __init__(self, packed: bytes, written: bytes) -> None:
        self._packed = packed
        self.written = written
        self.digest = hashlib.sha256(packed).hexdigest()

    @classmethod
    def of(cls, ids: Sequence[int]) -> TokenIds:
        """The same, of integers that were checked before.

        Raises:
            ValueError: They were not.
        """
        made = checked(ids)
        if made is None:
            raise ValueError("These are no token IDs.")
        return made

    def __len__(self) -> int:
        return len(self._packed) // _BYTES

    @overload
    def __getitem__(self, place: int) -> int: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[int, ...]: ...

    def __getitem__(self, place: int | slice) -> int | tuple[int, ...]:
        return self._unpacked()[place]

    def __iter__(self) -> Iterator[int]:
        return iter(self._unpacked())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TokenIds):
            return self._packed == other._packed
        return isinstance(other, tuple) and self._unpacked() == other

    def __hash__(self) -> int:
        return hash(self._unpacked())

    def __repr__(self) -> str:
        return f"TokenIds({len(self)})"

    def leading(self, token: int | None) -> int:
        """How many of the first ones are this token."""
        if token is None or not self._packed.startswith(token.to_bytes(_BYTES, "little")):
            return 0
        ids = self._unpacked()
        return next((place for place, each in enumerate(ids) if each != token), len(ids))

    def _unpacked(self) -> tuple[int, ...]:
        return struct.unpack(f"<{len(self)}i", self._packed)


def checked(items: Sequence[object]) -> TokenIds | None:
    """A list or tuple as token IDs; None if any is not of the type int itself, from 0 to 31 bits.

    bool is an int to Python, and a negative ID kills the engine of vLLM 0.10 to 0.27. Looking at
    each number in Python takes three times as long. struct takes integers alone, of 32 bits; what
    it takes for one, and is none, orjson refuses, or writes other than in digits.
    """
    try:
        # First, as the rest may be endless in JSON. A Struct takes a tuple as it is; struct.pack,
        # with the format before it, has it copied twice, which is a third of its time.
        packed = struct.Struct(f"<{len(items)}i").pack(*items)
        written = orjson.dumps(items, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
    except (struct.error, TypeError):
        return None
    if b"-" in written or b"e" in written:  # as in true and false
        return None
    return TokenIds(packed, bytes(memoryview(written)))  # orjson's own holds 130 kB for 3
