"""The wire itself: bytes to the server and back, over httpx's interface and aiohttp's sockets."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from reward_client.errors import InputError
from reward_client.options import Connection, Timeouts
from reward_client.transport.faults import Fault, WireFaultError, classify

if TYPE_CHECKING:
    import aiohttp

__all__ = ["HttpWire", "Wire", "WireReply"]

# vLLM closes idle connections after 5 s (uvicorn's default): be earlier.
_KEEPALIVE_SECONDS = 4.0
# aiohttp refuses longer header lines at 8,190 bytes by default; gateways send such.
_MAX_HEADER_BYTES = 65_536
# With aiohttp's default of 64 kB a large reply stops and starts its socket many times.
_READ_BUFFER_BYTES = 2**20
# aiohttp warns about larger bodies in one piece: they hold up the event loop.
_LARGEST_PIECE = 2**19
# Enough for any message; vLLM was seen to echo 184 kB of input.
_MAX_ERROR_BYTES = 65_536


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
        proxy = None if transport else _proxy(base_url, connection)
        self._transport = transport or _aiohttp_transport(base_url, connection, proxy)
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
        headers = {**headers, **self._proxy_headers}
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
        chunks: list[bytes] = []
        size = 0
        failed = response.status_code >= 400
        limit = _MAX_ERROR_BYTES if failed else self._max_response_bytes
        async for chunk in response.aiter_bytes():
            chunks.append(chunk)
            size += len(chunk)
            if size > limit:
                if failed:
                    break
                raise WireFaultError(Fault.TOO_LARGE, f"more than {limit} bytes")
        return b"".join(chunks)

    async def aclose(self) -> None:
        """Closes the connections that this object made."""
        self._closed = True
        if self._owned:
            await self._transport.aclose()


async def _in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _LARGEST_PIECE):
        yield body[start : start + _LARGEST_PIECE]


def _aiohttp_transport(
    base_url: str, connection: Connection, proxy: httpx.Proxy | None
) -> httpx.AsyncBaseTransport:
    from httpx_aiohttp import AiohttpTransport

    secure = "https" in {urlsplit(base_url).scheme, proxy.url.scheme if proxy else None}
    context = _ssl_context(connection) if secure else None
    return AiohttpTransport(
        verify=context or False,  # else it loads the CA bundle, 20 ms, for nothing
        proxy=proxy,
        client=lambda: _session(context),
    )


def _session(context: ssl.SSLContext | None) -> aiohttp.ClientSession:
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,  # the caller's semaphore is the limit
            keepalive_timeout=_KEEPALIVE_SECONDS,
            ssl=context if context is not None else True,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=_READ_BUFFER_BYTES,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
        trust_env=False,  # it would send a password from ~/.netrc; proxies are looked up here
    )


def _proxy(base_url: str, connection: Connection) -> httpx.Proxy | None:
    """The proxy to use, with its user and password as a header."""
    url = connection.proxy or (_environment_proxy(base_url) if connection.trust_env else None)
    if not url:
        return None
    try:
        # Without a scheme as everybody reads HTTP_PROXY=host:port.
        proxy = httpx.Proxy(url if "://" in url else f"http://{url}")
    except (ValueError, httpx.InvalidURL):  # their texts hold the password
        proxy = None
    if proxy is None or proxy.url.scheme not in {"http", "https"}:
        raise InputError(
            "A proxy must look like http://host:port or https://host:port: give one by "
            "Connection(proxy=…), or ignore the environment's by Connection(trust_env=False)."
        )
    if proxy.auth is None:
        return proxy
    token = b64encode(":".join(proxy.auth).encode()).decode()
    return httpx.Proxy(proxy.url, headers={"proxy-authorization": f"Basic {token}"})


def _environment_proxy(base_url: str) -> str | None:
    parts = urlsplit(base_url)
    if parts.hostname is None or proxy_bypass(parts.netloc):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _ssl_context(connection: Connection) -> ssl.SSLContext:
    verify, cert = connection.verify, connection.cert
    try:
        if isinstance(verify, str):
            context = ssl.create_default_context(cafile=verify)
        else:
            context = httpx.create_ssl_context(verify=verify, trust_env=connection.trust_env)
        if cert is not None:
            context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    except OSError as error:
        raise InputError(
            f"A certificate file cannot be read ({error}): check Connection(verify=…, cert=…) and "
            "SSL_CERT_FILE."
        ) from error
    return context


def _reason(error: BaseException) -> str:
    """The innermost cause that says something: it names the system's error."""
    said = error
    while error.__cause__ is not None:
        error = error.__cause__
        said = error if str(error) else said
    error = said
    return f"{type(error).__name__}: {error}"[:200]
