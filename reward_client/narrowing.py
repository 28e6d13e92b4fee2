"""From "some JSON" to a typed view of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

__all__ = ["as_json", "as_list", "as_mapping", "as_sequence"]


def as_mapping(value: object) -> Mapping[str, object] | None:
    """The value, if it is a mapping (a JSON object)."""
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else None


def as_json(value: object) -> object:
    """What a JSON writer writes instead of a value that it does not know: a dict for any mapping.

    Raises:
        TypeError: There is nothing to write.
    """
    mapping = as_mapping(value)
    if mapping is not None:
        return dict(mapping)
    raise TypeError(f"a {type(value).__name__} is not JSON")


def as_list(value: object) -> list[object] | None:
    """The value, if it is a list (a JSON array)."""
    return cast("list[object]", value) if isinstance(value, list) else None


def as_sequence(value: object) -> Sequence[object] | None:
    """The value, if it is a sequence of things: a list or tuple, not text."""
    if isinstance(value, str | bytes | bytearray) or not isinstance(value, Sequence):
        return None
    return cast("Sequence[object]", value)
