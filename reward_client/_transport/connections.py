"""Connections of aiohttp: sockets and TLS."""

from __future__ import annotations

import ssl
import time
from contextlib import suppress
from contextvars import ContextVar
from weakref import WeakKeyDictionary

import aiohttp
import httpx
from aiohttp import connector
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

from reward_client._base.options import Connection
from reward_client.errors import InputError

# vLLM closes idle connections after 5 s (uvicorn's default). The client closes them earlier.
_KEEPALIVE_SECONDS = 4.0
# By default aiohttp refuses header lines beyond 8,190 bytes, which some gateways send.
_MAX_HEADER_BYTES = 65_536
# With aiohttp's default of 64 kB a large response stops and starts its socket many times.
_READ_BUFFER_BYTES = 2**20


latest_connection: ContextVar[ResponseHandler | None] = ContextVar(
    "latest_connection", default=None
)
"""The connection of the latest request of the running task. aiohttp keeps it to itself."""


class _Connector(aiohttp.TCPConnector):
    """A connector that closes idle connections with unrequested bytes.

    aiohttp would read these bytes as the response to the next request, and shift every response
    after it.

    Attributes:
        opened: When each connection was first used, as a value of `time.monotonic`, in order.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - in part untyped
            limit=0,  # the semaphore of `HttpTransport` is the limit
            keepalive_timeout=_KEEPALIVE_SECONDS,
            ssl=context if context is not None else True,
        )
        self.opened: WeakKeyDictionary[ResponseHandler, float] = WeakKeyDictionary()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> connector.Connection:
        """Return a clean connection, which is new if none is idle."""
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is not None and not protocol.should_close:
                latest_connection.set(protocol)
                self.opened.setdefault(protocol, time.monotonic())
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
        connector=_Connector(context),
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=_READ_BUFFER_BYTES,
        max_line_size=_MAX_HEADER_BYTES,
        max_field_size=_MAX_HEADER_BYTES,
        auto_decompress=False,  # would accept unrequested encodings, before the status
        trust_env=False,  # would send a password from ~/.netrc; `proxies` reads proxies
    )


def is_connected_since(session: aiohttp.ClientSession, moment: float) -> bool:
    """Return True if a connection of a session that was opened before a moment is still open."""
    connector = session.connector
    if not isinstance(connector, _Connector):
        return False
    for protocol, opened in connector.opened.items():
        if opened > moment:
            return False
        if protocol.is_connected():
            return True
    return False


def drop_session(session: aiohttp.ClientSession) -> None:
    """Close a session whose event loop has ended, or belongs to another process."""
    connector = session.connector
    session.detach()
    if isinstance(connector, _Connector):
        connector.drop()


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
