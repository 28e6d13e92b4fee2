"""The wire itself: bytes to the server and back, over httpx's interface and aiohttp's sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import urlsplit

import httpx

from reward_client.errors import InputError
from reward_client.options import Connection, Timeouts
from reward_client.transport.connections import aiohttp_transport, find_proxy
from reward_client.transport.faults import Fault, WireFaultError, classify

__all__ = ["HttpWire", "Wire", "WireReply"]

# aiohttp warns about larger bodies in one piece: they hold up the event loop.
_LARGEST_PIECE = 2**19
# Enough for any message; vLLM was seen to echo 184 kB of input.
_MAX_ERROR_BYTES = 65_536
# Of these, a piece of a reply unpacks to a thousand times its size at most, and is counted then.
_ENCODINGS = "gzip, deflate"


@dataclass(frozen=True, slots=True)
class WireReply:
    """A reply as it came; header names in lower case.

    Attributes:
        status: The HTTP status.
        headers: Of the reply.
        body: Unpacked.
        sent: The headers of the request.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    sent: Mapping[str, str]

    @property
    def succeeded(self) -> bool:
        """Whether the status says so."""
        return 200 <= self.status < 300


class Wire(Protocol):
    """Sends one request, once."""

    async def send(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> WireReply:
        """Sends one request and reads its reply.

        Raises:
            WireFaultError: No reply, or not a whole one.
            InputError: The options cannot make a request.
        """
        ...

    async def aclose(self) -> None:
        """Closes every connection."""
        ...


class HttpWire:
    """Connections of one event loop to one server.

    Args:
        base_url: Without ``/v1`` and without a slash at its end.
        timeouts: Deadlines for connecting and reading.
        connection: TLS and proxy.
        max_response_bytes: What a reply may have at most, decompressed.
        transport: Used instead of own connections; it stays the caller's to close.
    """

    def __init__(
        self,
        base_url: str,
        timeouts: Timeouts,
        connection: Connection,
        max_response_bytes: int,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._base_url = base_url
        self._urls: dict[str, httpx.URL] = {}
        self._max_response_bytes = max_response_bytes
        self._owned = transport is None
        self._closed = False
        proxy = None if transport else find_proxy(base_url, connection)
        self._transport = transport or aiohttp_transport(base_url, connection, proxy)
        # A tunnel is asked for with the proxy's headers; else they go with each request.
        tunnelled = urlsplit(base_url).scheme == "https"
        self._proxy_headers = dict(proxy.headers) if proxy and not tunnelled else {}
        self._timeout = {
            "connect": timeouts.connect,
            "read": timeouts.read,
            "write": timeouts.read,
            # Over aiohttp this is the deadline for name, connection and TLS together; there is no
            # pool to wait for. With other transports it would be a wait for a free connection.
            "pool": timeouts.connect if self._owned else None,
        }

    async def send(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> WireReply:
        """See `Wire`."""
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = self._url(path)
        headers = {"accept-encoding": _ENCODINGS, **headers, **self._proxy_headers}
        content: bytes | AsyncIterator[bytes] | None = body
        if self._owned and body is not None and len(body) > _LARGEST_PIECE:
            headers["content-length"] = str(len(body))
            content = _in_pieces(body)
        request = httpx.Request(
            method, url, headers=headers, content=content, extensions={"timeout": self._timeout}
        )
        reading = False
        try:
            response = await self._transport.handle_async_request(request)
            reading = True
            try:
                body_read = await self._read(response)
                return WireReply(response.status_code, response.headers, body_read, headers)
            finally:
                await response.aclose()
        except WireFaultError:
            raise
        except Exception as error:
            fault = Fault.CLOSED if self._closed else classify(error, reading=reading)
            if fault is None:
                raise
            raise WireFaultError(fault, _reason(error)) from error

    def _url(self, path: str) -> httpx.URL:
        try:
            return httpx.URL(self._base_url + path)
        except httpx.InvalidURL as error:
            raise InputError(f"base_url cannot be read as a URL: {error}.") from error

    async def _read(self, response: httpx.Response) -> bytes:
        failed = response.status_code >= 400
        limit = _MAX_ERROR_BYTES if failed else self._max_response_bytes
        body = bytearray()
        try:
            _check_encoding(response)
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > limit:
                    break
        except (httpx.DecodingError, WireFaultError):
            if not failed:  # else the status says enough
                raise
        if len(body) > limit and not failed:
            raise WireFaultError(Fault.TOO_LARGE, f"more than {limit} bytes")
        return bytes(memoryview(body)[:limit])

    async def aclose(self) -> None:
        """Closes the connections that this object made."""
        self._closed = True
        if self._owned:
            await self._transport.aclose()


def _check_encoding(response: httpx.Response) -> None:
    """Refuses what was not asked for: packed twice, a few bytes unpack to gigabytes in one go."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity", *_ENCODINGS.split(", ")}:
        raise WireFaultError(Fault.NOT_HTTP, f"an answer in the content encoding {encoding!r}")


async def _in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _LARGEST_PIECE):
        yield body[start : start + _LARGEST_PIECE]


def _reason(error: BaseException) -> str:
    """The innermost cause that says something: it names the system's error."""
    said = error
    while error.__cause__ is not None:
        error = error.__cause__
        said = error if str(error) else said
    error = said
    return f"{type(error).__name__}: {error}"
