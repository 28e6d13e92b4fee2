"""The backend over the client's own connections, made by aiohttp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Literal
from urllib.parse import urlsplit
from weakref import WeakSet

import aiohttp
import yarl
from aiohttp.client_proto import ResponseHandler

from reward_client._base.options import Connection, Timeouts
from reward_client._transport.backends.base import (
    ENCODINGS,
    RawResponse,
    raise_network_error,
    read_body,
    request_url,
    response_seconds,
)
from reward_client._transport.connections import (
    drop_session,
    is_connected_since,
    latest_connection,
    open_session,
    tls_context,
)
from reward_client._transport.proxies import find_proxy
from reward_client._transport.scheme import Scheme
from reward_client.errors import InputError

# aiohttp warns about larger bodies in one piece: they block the event loop.
_MAX_PIECE_BYTES = 2**19


class AiohttpBackend:
    """The connections of one event loop to one server; the first request opens the first one.

    Args:
        base_url: The server's URL, without ``/v1`` and without a final slash.
        timeouts: The deadlines for connecting and reading.
        connection: TLS and proxy.
        max_response_bytes: The limit for one response, decompressed.

    Raises:
        InputError: If a certificate or the proxy's address is unreadable.
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
        self._dropped: WeakSet[ResponseHandler] = WeakSet()
        self._scheme = Scheme(base_url)
        self._timeout = aiohttp.ClientTimeout(
            # The first covers name lookup, connection and TLS together; the pool has no limit, so
            # no request waits for a free connection.
            connect=timeouts.connect,
            sock_connect=timeouts.connect,
            sock_read=timeouts.read,
        )
        seconds = response_seconds(timeouts)
        self._seconds = None if seconds is None else timeouts.connect + seconds
        found = find_proxy(base_url, connection)
        self.proxy = found.shown if found else None
        self._scheme.is_certain |= found is not None  # the proxy may have failed
        proxy = found.address if found else None
        self._proxy = str(proxy.url) if proxy else None
        self._proxy_headers = dict(proxy.headers) if proxy else None
        schemes = {urlsplit(base_url).scheme, proxy.url.scheme if proxy else None}
        self._tls = tls_context(connection) if "https" in schemes else None
        # With https, the proxy's headers go with the CONNECT request; else with each request.
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
        if body is not None and len(body) > _MAX_PIECE_BYTES:
            headers["content-length"] = str(len(body))
            data = _in_pieces(body)
        reading = False
        latest_connection.set(None)
        deadline = asyncio.timeout(self._seconds)
        try:
            async with (
                deadline,
                self._session.request(
                    method,
                    url,
                    headers=headers,
                    data=data,
                    allow_redirects=False,
                    timeout=self._timeout,
                    proxy=self._proxy,
                    proxy_headers=self._proxy_headers,
                ) as response,
            ):
                reading = self._scheme.is_certain = True
                content = await read_body(
                    response.content.iter_any(),
                    status=response.status,
                    encoding=response.headers.get("content-encoding", ""),
                    max_bytes=self._max_response_bytes,
                    packed=True,
                )
            protocol = latest_connection.get()
            assert protocol is not None  # noqa: S101 - it has just answered
            return RawResponse(
                response.status,
                response.headers,
                content,
                headers,
                drop=partial(self._close, protocol),
                is_only=not len(protocol),
            )
        except aiohttp.InvalidURL as error:
            raise InputError(f"Cannot read base_url as a URL: {error}.") from None
        except Exception as error:  # noqa: BLE001 - raised again
            if latest_connection.get() in self._dropped:
                return await self.send(method, path, body, headers)
            await self._scheme.check(error)
            raise_network_error(error, reading=reading, closed=self._closed, deadline=deadline)

    async def _close(self, protocol: ResponseHandler) -> None:
        """Close a connection. A request that has taken it meanwhile is sent on another one."""
        self._dropped.add(protocol)
        # `protocol.close` would never wake that request.
        if protocol.transport is not None:
            protocol.transport.close()

    def is_connected_since(self, moment: float) -> bool:
        """See `Backend`."""
        return self._session is not None and is_connected_since(self._session, moment)

    async def aclose(self) -> None:
        """Close the connections."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def drop(self) -> None:
        """See `Backend`."""
        if self._session is not None:
            drop_session(self._session)


async def _in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _MAX_PIECE_BYTES):
        yield body[start : start + _MAX_PIECE_BYTES]
