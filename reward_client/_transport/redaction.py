"""Redaction of header values, which a server or proxy may repeat in errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from urllib.parse import quote

_SHORTEST_SECRET = 6
"""Shorter header values are no secrets, and replacing them would garble messages."""

# Set by HTTP libraries, or by this package.
_HARMLESS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-request-id",
    }
)


def redact(text: str, sent: Mapping[str, str]) -> str:
    """Replace the values of the request's headers in a text, plain or as URLs and JSON write them.

    Args:
        text: A text that may repeat a header.
        sent: The headers of the request; names in any case.
    """
    for secret in sorted(set(_secrets(sent)), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets(sent: Mapping[str, str]) -> Iterator[str]:
    for name, value in sent.items():
        if name.lower() in _HARMLESS or name.lower().startswith("x-stainless-"):
            continue
        secret = value
        if name.lower() in {"authorization", "proxy-authorization"}:
            secret = value.partition(" ")[2] or value  # without "Bearer"
        if len(secret) >= _SHORTEST_SECRET:
            yield from (secret, quote(secret), quote(secret, safe=""))
            yield from (repr(secret)[1:-1], json.dumps(secret)[1:-1])
