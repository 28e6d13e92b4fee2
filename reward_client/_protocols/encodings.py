"""Encodings of the numbers in a response: float32 as base64, or nested JSON lists.

``/v1/embeddings`` serves rewards up to vLLM 0.9.0, and exported checkpoints in later versions. The
client requests base64 there: up to 0.9.0 a per-token model answers HTTP 500 to a request for JSON
numbers. ``/pooling`` (0.9.1 and later) and ``/classify`` answer with lists, which keep the shape.
"""

from __future__ import annotations

import struct
from base64 import b64decode
from itertools import chain
from typing import TypeGuard

from reward_client._base.json_values import as_list, is_list
from reward_client._protocols.pooled_output import PooledOutput

_FLOAT32_BYTES = 4
_NUMBERS = frozenset({float, int, type(None)})  # null is a number that is not finite


def read_base64(value: object) -> PooledOutput | None:
    """Read little-endian float32 numbers in base64; None for any other value."""
    if not isinstance(value, str):
        return None
    try:
        raw = b64decode(value, validate=True)
    except ValueError:  # binascii.Error is one; letters outside of ASCII raise it bare
        return None
    count, rest = divmod(len(raw), _FLOAT32_BYTES)
    return None if rest else PooledOutput(struct.unpack(f"<{count}f", raw), rows=None)


def read_lists(value: object) -> PooledOutput | None:
    """Read a list of numbers, or of equally long rows of numbers; None for any other value."""
    if not is_list(value):
        return None
    if not value:
        return PooledOutput((), 0)
    items = value
    rows = None
    if type(items[0]) is list:
        nested = [row for item in items if (row := as_list(item)) is not None]
        rows = len(nested)
        if rows != len(items) or len(set(map(len, nested))) != 1:
            return None
        items = list(chain.from_iterable(nested))
    return PooledOutput(items, rows) if _are_numbers(items) else None


def _are_numbers(items: list[object]) -> TypeGuard[list[float]]:
    return _NUMBERS.issuperset(map(type, items))
