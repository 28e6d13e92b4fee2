"""Token IDs that are checked once, with their JSON and their digest."""

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

    They are stored as bytes: millions of token IDs may be in progress, and the garbage collector
    would visit each tuple of Python integers.

    Attributes:
        written: The IDs as a JSON array.
        size: The number of IDs. `len` takes three times as long.
        digest: The SHA-256 (hex) of the IDs as little-endian 32-bit integers.
    """

    __slots__ = ("_packed", "digest", "size", "written")

    def __init__(self, packed: bytes, written: bytes) -> None:
        self._packed = packed
        self.written = written
        self.size = len(packed) // _BYTES
        self.digest = hashlib.sha256(packed).hexdigest()

    @classmethod
    def of(cls, ids: Sequence[int]) -> TokenIds:
        """Build from integers that were checked before.

        Raises:
            ValueError: If they are no token IDs.
        """
        token_ids = checked(ids)
        if token_ids is None:
            raise ValueError("These are no token IDs.")
        return token_ids

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[int, ...]: ...

    def __getitem__(self, index: int | slice) -> int | tuple[int, ...]:
        return self._unpacked()[index]

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

    def largest(self) -> int:
        """Return the largest ID."""
        return max(self._unpacked())

    def leading(self, token: int | None) -> int:
        """Return how many times this token stands at the start."""
        if token is None or not self._packed.startswith(token.to_bytes(_BYTES, "little")):
            return 0
        ids = self._unpacked()
        return next((index for index, other in enumerate(ids) if other != token), len(ids))

    def _unpacked(self) -> tuple[int, ...]:
        return struct.unpack(f"<{self.size}i", self._packed)


def checked(items: Sequence[object]) -> TokenIds | None:
    """Return a list or tuple as token IDs; None unless each item is an int of 0 to 31 bits.

    A bool is an int to Python, and a negative ID kills the engine of vLLM 0.10 to 0.27. A loop in
    Python takes three times as long as this check: `struct` accepts only 32-bit integers and
    integer-like objects, and orjson refuses the latter or writes them without digits.
    """
    try:
        # First, since other items may be endless in JSON. A Struct takes the tuple as it is;
        # `struct.pack`, whose first argument is the format, copies it twice (a third of its time).
        packed = struct.Struct(f"<{len(items)}i").pack(*items)
        written = orjson.dumps(items, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
    except (struct.error, TypeError, DeprecationWarning):
        # NumPy 1 warns of its truth values, and its caller may make errors of warnings.
        return None
    if b"-" in written or b"e" in written:  # negative, or true and false
        return None
    return TokenIds(packed, bytes(memoryview(written)))  # orjson's buffer holds 130 kB for 3 bytes
