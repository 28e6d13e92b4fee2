"""Connections of aiohttp: sockets, TLS, proxies."""

from __future__ import annotations

import ssl
from base64 import b64encode
from contextlib import suppress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from aiohttp import connector
from aiohttp.tracing import Trace

from reward_client._base.options import Connection
from reward_client.errors import InputError

# vLLM closes idle connections after 5 s (uvicorn's default). The client closes them earlier.
_KEEPALIVE_SECONDS = 4.0
# By default aiohttp refuses header lines beyond 8,190 bytes, which some gateways send.
_MAX_HEADER_BYTES = 65_536
# With aiohttp's default of 64 kB a large response stops and starts its socket many times.
_READ_BUFFER_BYTES = 2**20


class _Connector(aiohttp.TCPConnector):
    """A connector that closes idle connections with unrequested bytes.

    aiohttp would read these bytes as the response to the next request, and shift every response
    after it.
    """

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> connector.Connection:
        """Return a clean connection, which is new if none is idle."""
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()

    def drop(self) -> None:
        """Close the sockets without the event loop, which runs no more callbacks."""
        pooled = [protocol for each in self._conns.values() for protocol, _ in each]
        transports = [protocol.transport for protocol in (*pooled, *self._acquired)]
        self._conns.clear()
        self._acquired.clear()
        self._closed = True
        for transport in transports:
            # Above TLS lies another transport. The `close` of both would call the loop.
            below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
            end = getattr(below, "_call_connection_lost", None)  # uvloop closes its own
            if end is not None:
                with suppress(RuntimeError):  # whoever waits for it is told, by way of the loop
                    end(None)


def open_session(context: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """Open a session for the running event loop.

    Args:
        context: The TLS context; None without TLS.
    """
    return aiohttp.ClientSession(
        connector=_Connector(
            limit=0,  # the semaphore of `HttpTransport` is the limit
            keepalive_timeout=_KEEPALIVE_SECONDS,
            ssl=context if context is not None else True,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=_READ_BUFFER_BYTES,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
        auto_decompress=False,  # would accept unrequested encodings, before the status
        trust_env=False,  # would send a password from ~/.netrc; `find_proxy` reads proxies
    )


def drop_session(session: aiohttp.ClientSession) -> None:
    """Close a session whose event loop has ended, or belongs to another process."""
    connector = session.connector
    session.detach()
    if isinstance(connector, _Connector):
        connector.drop()


def find_proxy(base_url: str, connection: Connection) -> httpx.Proxy | None:
    """Return the proxy, with user and password as a header; None for a direct connection.

    Raises:
        InputError: If the proxy's address is unreadable.
    """
    url = connection.proxy or (_environment_proxy(base_url) if connection.trust_env else None)
    if not url:
        return None
    try:
        # HTTP_PROXY=host:port without a scheme means http, by convention.
        proxy = httpx.Proxy(url if "://" in url else f"http://{url}")
    except (ValueError, httpx.InvalidURL):  # the text of these errors holds the password
        proxy = None
    if proxy is None or proxy.url.scheme not in {"http", "https"}:
        raise InputError(
            "A proxy must look like http://host:port or https://host:port. Give it as "
            "Connection(proxy=…), or ignore the environment with Connection(trust_env=False)."
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


def tls_context(connection: Connection) -> ssl.SSLContext:
    """Return the TLS context.

    Raises:
        InputError: If a certificate is unreadable.
    """
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
            f"Cannot read a certificate file: {error}. Check Connection(verify=…, cert=…) and "
            "SSL_CERT_FILE."
        ) from error
    return context
