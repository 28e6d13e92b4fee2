"""The interface of a backend, and the parts that the backends share."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn, Protocol, runtime_checkable

import httpx

from reward_client._base.options import Timeouts
from reward_client._transport.network_errors import NetworkError, NetworkErrorKind, classify
from reward_client.errors import InputError

# Enough for any message; vLLM was seen to echo 184 kB of input.
MAX_ERROR_BYTES = 65_536
# One chunk in these encodings unpacks to at most a thousand times its size, which is counted then.
ENCODINGS = "gzip, deflate"
_LEAST_SECONDS = 30.0
"""The time for a whole response under a short ``Timeouts.read``: a large one takes seconds."""
# Added to zlib's window size, this detects gzip and zlib headers.
_GZIP_OR_ZLIB = 32


async def _nothing() -> None:
    """Close nothing."""


@dataclass(frozen=True, slots=True)
class RawResponse:
    """An HTTP response before it is parsed.

    Attributes:
        status: The HTTP status.
        headers: The response headers; names in any case.
        body: The unpacked body.
        sent: The headers of the request.
        drop: Closes the connection, unless it is closed or unknown.
        is_only: False if another response followed on the connection: which one answers the
            request is unknown then.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: Mapping[str, str]
    drop: Callable[[], Awaitable[None]] = _nothing
    is_only: bool = True

    @property
    def succeeded(self) -> bool:
        """True for a status of 2xx."""
        return 200 <= self.status < 300


@runtime_checkable
class _Closable(Protocol):
    """A connection of httpcore or of its successor."""

    async def aclose(self) -> None: ...


class Backend(Protocol):
    """An HTTP library that sends one request, once."""

    @property
    def proxy(self) -> str | None:
        """The proxy, without user and password, and its origin; None if none is known."""
        ...

    async def send(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> RawResponse:
        """Send one request and read its response.

        Raises:
            NetworkError: If no response arrives, or only a part of one.
            InputError: If the options do not make a valid request.
        """
        ...

    def is_connected_since(self, moment: float) -> bool:
        """See `Transport`. Also True if the HTTP library does not tell its connections."""
        ...

    async def aclose(self) -> None:
        """Close every connection."""
        ...

    def drop(self) -> None:
        """Close the connections of an event loop that has ended or belongs to another process."""
        ...


def request_url(base_url: str, path: str) -> httpx.URL:
    """Return the URL of a route.

    Raises:
        InputError: If the base URL is invalid.
    """
    try:
        return httpx.URL(base_url + path)
    except httpx.InvalidURL as error:
        raise InputError(f"Cannot read base_url as a URL: {error}.") from error


async def close_stream(extensions: Mapping[str, object]) -> None:
    """Close the connection that a response of httpx names, if its transport names one."""
    stream = extensions.get("network_stream")
    if isinstance(stream, _Closable):
        await stream.aclose()


def response_seconds(timeouts: Timeouts) -> float | None:
    """Return the time from the request to the end of its response; None for no limit.

    ``Timeouts.read`` alone has no end: each byte and each response of status 1xx restarts it.
    """
    return None if timeouts.read is None else max(2 * timeouts.read, _LEAST_SECONDS)


async def read_body(
    chunks: AsyncIterable[bytes], *, status: int, encoding: str, max_bytes: int, packed: bool
) -> bytes:
    """Read the body of a response, up to a limit.

    The body of an error is cut at `MAX_ERROR_BYTES`, and may be damaged: its status says enough.

    Args:
        chunks: The body in pieces.
        status: The HTTP status.
        encoding: The header ``content-encoding``.
        max_bytes: The limit for the unpacked body of a success.
        packed: True if the chunks are still encoded.

    Raises:
        NetworkError: If the body of a success is too large, or its encoding is wrong.
    """
    failed = status >= 400
    limit = MAX_ERROR_BYTES if failed else max_bytes
    body = bytearray()
    try:
        _check_encoding(encoding)
        unpack = None
        if packed and encoding.strip().lower() not in {"", "identity"}:
            unpack = zlib.decompressobj(zlib.MAX_WBITS | _GZIP_OR_ZLIB).decompress
        async for chunk in chunks:
            # Unpack no further than the limit: a few bytes may unpack to gigabytes.
            left = limit + 1 - len(body)
            body += unpack(chunk, left) if unpack else memoryview(chunk)[:left]
            if len(body) > limit:
                break
    except zlib.error as error:
        if not failed:
            raise NetworkError(NetworkErrorKind.NOT_HTTP, reason(error)) from error
    except NetworkError:
        if not failed:
            raise
    if len(body) > limit and not failed:
        raise NetworkError(NetworkErrorKind.TOO_LARGE, f"more than {limit} bytes")
    return bytes(memoryview(body)[:limit])


def raise_network_error(
    error: Exception, *, reading: bool, closed: bool, deadline: asyncio.Timeout
) -> NoReturn:
    """Raise the `NetworkError` of an HTTP library's exception; re-raise any other exception.

    Args:
        error: The exception of the HTTP library.
        reading: True if the status line and headers had arrived before.
        closed: True if the client was closed meanwhile.
        deadline: The one for the whole response.
    """
    if isinstance(error, TimeoutError) and deadline.expired():
        raise NetworkError(
            NetworkErrorKind.ENDLESS, "bytes still trickled at its deadline"
        ) from error
    if isinstance(error, NetworkError):
        raise error
    kind = NetworkErrorKind.CLOSED if closed else classify(error, reading=reading)
    if kind is None:
        raise error
    raise NetworkError(kind, reason(error)) from error


def _check_encoding(encoding: str) -> None:
    """Refuse encodings that were not requested: packed twice, a few bytes unpack to gigabytes."""
    if encoding.strip().lower() not in {"", "identity", *ENCODINGS.split(", ")}:
        raise NetworkError(NetworkErrorKind.NOT_HTTP, f"unrequested content encoding {encoding!r}")


def reason(error: BaseException) -> str:
    """Return the innermost cause that has a text: it names the error of the operating system."""
    named = error
    while error.__cause__ is not None:
        error = error.__cause__
        named = error if str(error) else named
    return f"{type(named).__name__}: {named}"
