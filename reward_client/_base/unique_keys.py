"""JSON in which no object has a key twice: parsers would keep the last value silently."""

from __future__ import annotations

import json
from typing import cast

import orjson

from reward_client._base.wording import shorten

_AS_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19
_COLON = b":"
_ESCAPED_COLON = b"\\u003"
"""Its start, since its last digit has two cases."""
_KEY_CHARACTERS = 60


class RepeatedKeyError(ValueError):
    """An object has a key twice."""


def parse_json(content: bytes) -> object:
    """Parse a JSON text.

    Raises:
        RepeatedKeyError: If an object has a key twice.
        ValueError: If it is not JSON.
        RecursionError: If it is nested too deeply.
    """
    parsed: object = orjson.loads(content)
    # orjson makes a float of an integer beyond 64 bits.
    # A search for any digits takes ten times as long.
    if _LONG_NUMBER in content.translate(_AS_ZEROS):
        return cast("object", json.loads(content, object_pairs_hook=unique_keys))
    if _may_repeat_key(content, parsed):
        json.loads(content, object_pairs_hook=unique_keys)
    return parsed


def unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Build a dict. It is an ``object_pairs_hook`` of `json.loads`.

    Raises:
        RepeatedKeyError: If a key occurs twice.
    """
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RepeatedKeyError(
            f"an object has the key {shorten(repr(twice), _KEY_CHARACTERS)} twice"
        )
    return table


def _may_repeat_key(content: bytes, parsed: object) -> bool:
    """Return False if each key has its value: the others have lost theirs with a colon.

    Texts have the same colons before and after, except for escaped ones. `json.loads` with a hook
    would take ten times as long as this.
    """
    colons = content.count(_COLON)
    if isinstance(parsed, dict) and colons == len(cast("dict[str, object]", parsed)):
        return False
    try:
        return colons != orjson.dumps(parsed).count(_COLON) or _ESCAPED_COLON in content
    except TypeError:  # nested more deeply than orjson writes
        return True
