"""The wire over the client's own connections, which are aiohttp's."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Literal
from urllib.parse import urlsplit

import aiohttp
import yarl

from reward_client._base.options import Connection, Timeouts
from reward_client._transport.backends.base import (
    ENCODINGS,
    MAX_ERROR_BYTES,
    RawResponse,
    check_encoding,
    reason,
    request_url,
)
from reward_client._transport.connections import find_proxy, open_session, tls_context
from reward_client._transport.network_errors import Fault, WireFaultError, classify

# aiohttp warns about larger bodies in one piece: they hold up the event loop.
_LARGEST_PIECE = 2**19
_GZIP_OR_ZLIB = 32  # what zlib adds to the size of its window to tell the two apart


class AiohttpBackend:
    """Connections of one event loop to one server; the first request opens the first.

    Args:
        base_url: Without ``/v1`` and without a slash at its end.
        timeouts: Deadlines for connecting and reading.
        connection: TLS and proxy.
        max_response_bytes: What a reply may have at most, decompressed.

    Raises:
        InputError: A certificate or the proxy's address cannot be read.
    """

    def __init__(
        self,
        base_url: str,
        timeouts: Timeouts,
        connection: Connection,
        max_response_bytes: int,
    ) -> None:
        self._base_url = base_url
        self._urls: dict[str, yarl.URL] = {}
        self._max_response_bytes = max_response_bytes
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._timeout = aiohttp.ClientTimeout(
            # The first is the deadline for name, connection and TLS together; no connection is
            # waited for.
            connect=timeouts.connect,
            sock_connect=timeouts.connect,
            sock_read=timeouts.read,
        )
        proxy = find_proxy(base_url, connection)
        self._proxy = str(proxy.url) if proxy else None
        self._proxy_headers = dict(proxy.headers) if proxy else None
        schemes = {urlsplit(base_url).scheme, proxy.url.scheme if proxy else None}
        self._tls = tls_context(connection) if "https" in schemes else None
        # A tunnel is asked for with the proxy's headers; else they go with each request.
        tunnelled = urlsplit(base_url).scheme == "https"
        self._also_sent = {} if tunnelled else self._proxy_headers or {}

    async def send(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> RawResponse:
        """See `Backend`."""
        if self._session is None:
            self._session = open_session(self._tls)
        url = self._urls.get(path)
        if url is None:
            url = yarl.URL(str(request_url(self._base_url, path)), encoded=True)
            self._urls[path] = url
        headers = {"accept-encoding": ENCODINGS, **headers, **self._also_sent}
        data: bytes | AsyncIterator[bytes] | None = body
        if body is not None and len(body) > _LARGEST_PIECE:
            headers["content-length"] = str(len(body))
            data = _in_pieces(body)
        reading = False
        try:
            async with self._session.request(
                method,
                url,
                headers=headers,
                data=data,
                allow_redirects=False,
                timeout=self._timeout,
                proxy=self._proxy,
                proxy_headers=self._proxy_headers,
            ) as response:
                reading = True
                content = await self._read(response)
                return RawResponse(response.status, response.headers, content, headers)
        except WireFaultError:
            raise
        except Exception as error:
            fault = Fault.CLOSED if self._closed else classify(error, reading=reading)
            if fault is None:
                raise
            raise WireFaultError(fault, reason(error)) from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        failed = response.status >= 400
        limit = MAX_ERROR_BYTES if failed else self._max_response_bytes
        body = bytearray()
        try:
            unpack = _unpacking(response.headers.get("content-encoding", ""))
            async for chunk in response.content.iter_any():
                # No further than the limit: a few bytes may unpack to gigabytes.
                body += unpack(chunk, limit + 1 - len(body)) if unpack else chunk
                if len(body) > limit:
                    break
        except (zlib.error, WireFaultError) as error:
            if isinstance(error, zlib.error) and not failed:
                raise WireFaultError(Fault.NOT_HTTP, reason(error)) from error
            if not failed:  # else the status says enough
                raise
        if len(body) > limit and not failed:
            raise WireFaultError(Fault.TOO_LARGE, f"more than {limit} bytes")
        return bytes(memoryview(body)[:limit])

    async def aclose(self) -> None:
        """Closes the connections."""
        self._closed = True
        if self._session is not None:
            await self._session.close()


def _unpacking(encoding: str) -> Callable[[bytes, int], bytes] | None:
    """Unpacks the pieces of a reply, each to a number of bytes at most; None for a plain one."""
    check_encoding(encoding)
    if encoding.strip().lower() in {"", "identity"}:
        return None
    return zlib.decompressobj(zlib.MAX_WBITS | _GZIP_OR_ZLIB).decompress


async def _in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _LARGEST_PIECE):
        yield body[start : start + _LARGEST_PIECE]
