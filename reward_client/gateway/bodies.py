"""The body of a request, as parsed JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from reward_client._base.json_values import is_overfull
from reward_client.gateway.contracts.contract import Refusal, invalid

if TYPE_CHECKING:
    from starlette.requests import Request

_LATE = 408
_TOO_LARGE = 413
_UNSUPPORTED = 415
_SECONDS = 60.0
"""The longest time for a body to arrive: a caller that trickles it holds memory."""
_UNKEPT = 4
"""A body of up to as many times the limit is read to its end, without being kept. Many callers look
at an answer only once they have sent everything."""


async def read_body(request: Request, max_bytes: int, add: Callable[[int], None]) -> bytes:
    """Return the body of a request.

    Args:
        request: The request.
        max_bytes: The most bytes.
        add: Counts bytes that are kept.

    Raises:
        Refusal: If it is too large, too slow or compressed, or what `add` raises.
    """
    encodings = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
    if any(each.strip() not in ("", "identity") for each in encodings):
        raise Refusal(
            _UNSUPPORTED,
            "Compressed",
            "Cannot read a compressed body. Send it without Content-Encoding.",
        )
    try:
        async with asyncio.timeout(_SECONDS):
            return await _body(request, max_bytes, add)
    except TimeoutError:
        raise Refusal(
            _LATE, "TooSlow", f"Cannot wait for the body: it took more than {_SECONDS:g} s."
        ) from None


def parsed(body: bytes) -> object:
    """Return the JSON value in a body.

    Raises:
        Refusal: If it is no JSON, or holds too many values.
    """
    if is_overfull(body):
        raise Refusal(
            _TOO_LARGE,
            "TooManyValues",
            "Cannot read the body: it holds too many values. Send several requests.",
        )
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"the body is not JSON ({error.msg}, at character {error.pos})") from None


async def _body(request: Request, max_bytes: int, add: Callable[[int], None]) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= max_bytes:
            add(len(chunk))
            chunks.append(chunk)
        elif size > _UNKEPT * max_bytes:
            break
    if size > max_bytes:
        raise Refusal(
            _TOO_LARGE,
            "TooLarge",
            f"Cannot read the body: it exceeds {max_bytes:,} bytes. Send several requests, or "
            "raise --max-body-bytes.",
        )
    return b"".join(chunks)
