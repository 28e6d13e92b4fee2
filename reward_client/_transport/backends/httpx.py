"""The backend over an httpx transport that the caller brings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Literal

import httpx

from reward_client._base.options import Timeouts
from reward_client._transport.backends.base import (
    ENCODINGS,
    RawResponse,
    close_stream,
    raise_network_error,
    read_body,
    request_url,
    response_seconds,
)
from reward_client._transport.scheme import Scheme

# The end of an event's name: httpx's own transports call a request's `trace` with it.
_IS_SENT = "send_request_headers.started"


class HttpxBackend:
    """Sends requests directly through a transport.

    Without an ``httpx.AsyncClient`` there are no cookies, redirects or netrc files, and less CPU
    is spent.

    Args:
        base_url: The server's URL, without ``/v1`` and without a final slash.
        timeouts: The deadlines for connecting and reading.
        max_response_bytes: The limit for one response, decompressed.
        transport: The caller's transport, which only the caller closes.
    """

    proxy = None  # the transport may have one, and does not say so

    def __init__(
        self,
        base_url: str,
        timeouts: Timeouts,
        max_response_bytes: int,
        transport: httpx.AsyncBaseTransport,
    ) -> None:
        self._base_url = base_url
        self._transport = transport
        self._closed = False
        self._reader = BoundedReader(base_url, timeouts, max_response_bytes)
        self._timeout = {
            "connect": timeouts.connect,
            "read": timeouts.read,
            "write": timeouts.read,
            "pool": None,  # the deadline for a free connection; the caller's pool decides
        }

    async def send(
        self,
        method: Literal["GET", "POST"],
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> RawResponse:
        """See `Backend`."""
        headers = {"accept-encoding": ENCODINGS, **headers}
        request = httpx.Request(
            method,
            request_url(self._base_url, path),
            headers=headers,
            content=body,
            extensions={"timeout": self._timeout},
        )
        return await self._reader.read(
            request, self._transport.handle_async_request, closed=lambda: self._closed
        )

    def is_connected_since(self, moment: float) -> bool:
        """See `Backend`."""
        return True

    async def aclose(self) -> None:
        """Close nothing: the transport belongs to the caller."""
        self._closed = True

    def drop(self) -> None:
        """Close nothing: the transport belongs to the caller."""


class BoundedReader:
    """Reads responses of httpx, within limits of time and size.

    Args:
        base_url: The server's URL.
        timeouts: The deadlines for connecting and reading.
        max_bytes: The limit for one response, decompressed.
    """

    def __init__(self, base_url: str, timeouts: Timeouts, max_bytes: int) -> None:
        self._scheme = Scheme(base_url)
        self._seconds = response_seconds(timeouts)
        self._max_bytes = max_bytes

    async def read(
        self,
        request: httpx.Request,
        send: Callable[[httpx.Request], Awaitable[httpx.Response]],
        *,
        closed: Callable[[], bool],
    ) -> RawResponse:
        """Send a request, and return its response.

        Args:
            request: The request.
            send: Sends it; returns the response before its body is read.
            closed: Returns True if the client was closed meanwhile.

        Raises:
            NetworkError: If no response arrives, or only a part of one.
        """
        deadline = asyncio.timeout(None)

        def start() -> None:
            if self._seconds is not None:
                deadline.reschedule(asyncio.get_running_loop().time() + self._seconds)

        async def start_when_sent(event: str, _: object) -> None:
            if event.endswith(_IS_SENT):
                start()

        # From here on, and not from the call: a request may wait long in the caller's pool.
        request.extensions = {**request.extensions, "trace": start_when_sent}
        reading = False
        try:
            async with deadline:
                response = await send(request)
                reading = self._scheme.is_certain = True
                if deadline.when() is None:  # another transport than httpx's own
                    start()
                # One that was made in memory is unpacked already.
                packed = not response.is_stream_consumed
                try:
                    body = await read_body(
                        response.aiter_raw() if packed else response.aiter_bytes(),
                        status=response.status_code,
                        encoding=response.headers.get("content-encoding", ""),
                        max_bytes=self._max_bytes,
                        packed=packed,
                    )
                finally:
                    await response.aclose()
            drop = partial(close_stream, response.extensions)
            return RawResponse(
                response.status_code, response.headers, body, request.headers, drop=drop
            )
        except Exception as error:  # noqa: BLE001 - raised again
            await self._scheme.check(error)
            raise_network_error(error, reading=reading, closed=closed(), deadline=deadline)
