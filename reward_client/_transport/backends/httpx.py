"""The wire over a transport that the caller brings, by httpx's interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import httpx

from reward_client._base.options import Timeouts
from reward_client._transport.backends.base import (
    ENCODINGS,
    MAX_ERROR_BYTES,
    RawResponse,
    check_encoding,
    reason,
    request_url,
)
from reward_client._transport.network_errors import Fault, WireFaultError, classify


class HttpxBackend:
    """A transport, called directly: no cookies, redirects or netrc, and less CPU.

    Args:
        base_url: Without ``/v1`` and without a slash at its end.
        timeouts: Deadlines for connecting and reading.
        max_response_bytes: What a reply may have at most, decompressed.
        transport: It stays the caller's to close.
    """

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
            "pool": None,  # it would be a wait for a free connection
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
                body_read = await self._read(response)
                return RawResponse(response.status_code, response.headers, body_read, headers)
            finally:
                await response.aclose()
        except WireFaultError:
            raise
        except Exception as error:
            fault = Fault.CLOSED if self._closed else classify(error, reading=reading)
            if fault is None:
                raise
            raise WireFaultError(fault, reason(error)) from error

    async def _read(self, response: httpx.Response) -> bytes:
        failed = response.status_code >= 400
        limit = MAX_ERROR_BYTES if failed else self._max_response_bytes
        body = bytearray()
        try:
            check_encoding(response.headers.get("content-encoding", ""))
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
        """Nothing is the client's own."""
        self._closed = True
