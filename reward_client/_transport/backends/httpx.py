"""The backend over an httpx transport that the caller brings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import httpx

from reward_client._base.options import Timeouts
from reward_client._transport.backends.base import (
    ENCODINGS,
    RawResponse,
    raise_network_error,
    read_body,
    request_url,
)


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
        self._max_response_bytes = max_response_bytes
        self._transport = transport
        self._closed = False
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
        reading = False
        try:
            response = await self._transport.handle_async_request(request)
            reading = True
            try:
                content = await read_body(
                    response.aiter_bytes(),
                    status=response.status_code,
                    encoding=response.headers.get("content-encoding", ""),
                    max_bytes=self._max_response_bytes,
                    packed=False,
                )
                return RawResponse(response.status_code, response.headers, content, headers)
            finally:
                await response.aclose()
        except Exception as error:  # noqa: BLE001 - raised again
            raise_network_error(error, reading=reading, closed=self._closed)

    async def aclose(self) -> None:
        """Close nothing: the transport belongs to the caller."""
        self._closed = True
