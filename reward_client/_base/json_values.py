"""Checked JSON values, from parsed JSON or from the objects of a caller."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeGuard, cast

from reward_client._base.arrays import is_array, to_builtin
from reward_client._base.wording import describe_type

_MAX_DEPTH = 128
"""Levels of lists and dicts; orjson writes up to 254."""
_MAX_VALUES = 100_000
"""A few lists that hold one another twice are small in memory and endless in JSON."""
_INTEGERS = range(-(2**63), 2**64)
"""The integers that orjson writes."""


class NotJsonError(Exception):
    """JSON cannot hold an object. The text gives the reason and shows nothing of the object."""


def as_count(value: object) -> int | None:
    """Return the value if it is an integer above 0, else None."""
    return value if type(value) is int and value > 0 else None


def as_mapping(value: object) -> Mapping[str, object] | None:
    """Return the value if it is a mapping (a JSON object), else None."""
    if is_dict(value):  # takes a tenth of the time of the next check
        return value
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None


def as_list(value: object) -> list[object] | None:
    """Return the value if it is a list (a JSON array), else None."""
    return value if is_list(value) else None


def is_list(value: object) -> TypeGuard[list[object]]:
    """Return whether the value is a list, and of no subclass."""
    return type(value) is list


def is_dict(value: object) -> TypeGuard[dict[str, object]]:
    """Return whether the value is a dict, and of no subclass."""
    return type(value) is dict


def as_sequence(value: object) -> Sequence[object] | None:
    """Return the value if it is a sequence such as a list or tuple, but not text or bytes."""
    if isinstance(value, str | bytes | bytearray | memoryview) or not isinstance(value, Sequence):
        return None
    return cast("Sequence[object]", value)


def listed(value: object) -> list[object] | None:
    """Return the elements of a sequence, an array or a column; None for other values.

    Raises:
        Exception: The errors of the object's own methods.
    """
    if type(value) is tuple:  # of the hot path: takes a fifth of the time of the next checks
        return [*value]
    sequence = as_sequence(to_builtin(value))
    return None if sequence is None else elements(sequence)


def elements(sequence: Sequence[object]) -> list[object]:
    """Return as many elements as `len` counts: an iteration over the sequence may never end."""
    return list(islice(sequence, len(sequence)))


def is_text(value: object) -> TypeGuard[str]:
    """Return whether the value is a str of no subclass that UTF-8 can hold."""
    if type(value) is not str:
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def to_json_value(value: object) -> object:
    """Return a copy of a caller's object, made only of JSON's types.

    Raises:
        NotJsonError: If JSON cannot hold the object.
        Exception: The errors of the object's own methods.
    """
    return _Copying().copied(value, depth=0)


class _Copying:
    def __init__(self) -> None:
        self._left = _MAX_VALUES

    def copied(self, value: object, depth: int) -> object:
        self._left -= 1
        if depth > _MAX_DEPTH or self._left < 0:
            raise NotJsonError("it is nested too deeply, or holds itself")
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str | int | float):
            return _atom(value)
        mapping, sequence = as_mapping(value), as_sequence(value)
        if mapping is not None:
            return {key: self.copied(inner, depth + 1) for key, inner in _items(mapping)}
        if sequence is not None:
            return [self.copied(inner, depth + 1) for inner in elements(sequence)]
        if is_array(value):
            return self.copied(to_builtin(value), depth + 1)
        raise NotJsonError(f"{describe_type(value)} is not JSON")


def _items(mapping: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for key in islice(cast("Mapping[object, object]", mapping), len(mapping)):
        if not isinstance(key, str):
            raise NotJsonError(f"a key is {describe_type(key)}, not a str")
        yield _text(key), mapping[key]


def _atom(value: str | float) -> str | float:
    """Return the value as an instance of the builtin type, not of a subclass."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        integer = int.__int__(value)
        if integer not in _INTEGERS:
            raise NotJsonError("an integer has more than 64 bits")
        return integer
    number = float.__float__(value)
    if not math.isfinite(number):
        raise NotJsonError("a number is NaN or infinite")
    return number


def _text(value: str) -> str:
    text = str.__str__(value)
    if not is_text(text):
        raise NotJsonError("a text holds half of a surrogate pair")
    return text


_SMALL_BYTES = 2**20
"""A JSON text up to this size is parsed in milliseconds, whatever it holds."""

_MAX_CONTAINERS = 1_000_000
"""The most lists and objects: far above one for each token of a batch."""

_MAX_QUOTES = 2_000_000
"""Twice the most texts and keys: they take longer to build than numbers."""

_MAX_COMMAS = 8_000_000
"""The most commas: 64 MiB of float32 numbers have fewer."""


def is_overfull(text: bytes) -> bool:
    """Return True if a JSON text holds more values than any response with rewards.

    Parsing such a text blocks the event loop for many seconds. What stands in strings counts too:
    that is cheap, and no response has a million of them.
    """
    if len(text) <= _SMALL_BYTES:
        return False
    containers = text.count(b"[") + text.count(b"{")
    return (
        containers > _MAX_CONTAINERS
        or text.count(b'"') > _MAX_QUOTES
        or text.count(b",") > _MAX_COMMAS
    )
