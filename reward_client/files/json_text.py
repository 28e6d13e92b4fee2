"""Write values of Python as JSON, those of tables too."""

from __future__ import annotations

import base64
from decimal import Decimal

import orjson

from reward_client._base.arrays import to_builtin


def as_json(values: object, *, sort_keys: bool = False) -> bytes:
    """Format values as JSON.

    Bytes are written in base64, and times in ISO 8601. NaN and infinities are null.
    """
    options = orjson.OPT_NON_STR_KEYS | (orjson.OPT_SORT_KEYS if sort_keys else 0)
    return orjson.dumps(values, default=_plain, option=options)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return str(value)
    builtin = to_builtin(value)
    if builtin is not value:
        return builtin
    isoformat = getattr(value, "isoformat", None)
    return str(value) if isoformat is None else isoformat()
