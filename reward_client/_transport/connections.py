"""How connections are made: aiohttp's sockets, TLS, proxies."""

from __future__ import annotations

import ssl
from base64 import b64encode
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from aiohttp import connector
from aiohttp.tracing import Trace

from reward_client._base.options import Connection
from reward_client.errors import InputError

# vLLM closes idle connections after 5 s (uvicorn's default): be earlier.
_KEEPALIVE_SECONDS = 4.0
# aiohttp refuses longer header lines at 8,190 bytes by default; gateways send such.
_MAX_HEADER_BYTES = 65_536
# With aiohttp's default of 64 kB a large reply stops and starts its socket many times.
_READ_BUFFER_BYTES = 2**20


class _Connector(aiohttp.TCPConnector):
    """Gives up idle connections on which something came that nobody asked for.

    aiohttp would take it for the reply to the next request, and so on with each one after it.
    """

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> connector.Connection:
        """A connection that is as it should be; a new one if none is idle."""
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()


def open_session(context: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """Connections of the running event loop.

    Args:
        context: For TLS; None where there is none.
    """
    return aiohttp.ClientSession(
        connector=_Connector(
            limit=0,  # the caller's semaphore is the limit
            keepalive_timeout=_KEEPALIVE_SECONDS,
            ssl=context if context is not None else True,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=_READ_BUFFER_BYTES,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
        auto_decompress=False,  # it takes encodings that were not asked for, before the status
        trust_env=False,  # it would send a password from ~/.netrc; proxies are looked up here
    )


def find_proxy(base_url: str, connection: Connection) -> httpx.Proxy | None:
    """The proxy to use, with its user and password as a header; None for a direct connection.

    Raises:
        InputError: Its address cannot be read.
    """
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


def tls_context(connection: Connection) -> ssl.SSLContext:
    """What TLS is checked by.

    Raises:
        InputError: A certificate cannot be read.
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
            f"A certificate file cannot be read ({error}): check Connection(verify=…, cert=…) and "
            "SSL_CERT_FILE."
        ) from error
    return context
