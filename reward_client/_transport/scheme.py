"""Plain HTTP to a port that speaks TLS: a failure that looks like many others."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from reward_client._transport.network_errors import NetworkError, NetworkErrorKind, classify

# What plain HTTP gets from a port that speaks TLS: no answer, or an alert of TLS.
_OF_TLS_PORTS = (NetworkErrorKind.RESET, NetworkErrorKind.CUT, NetworkErrorKind.NOT_HTTP)
_HANDSHAKE_SECONDS = 2.0
_HTTP_PORT = 80


class Scheme:
    """The scheme of a base URL, in doubt until the first answer.

    Args:
        base_url: The server's URL.

    Attributes:
        is_certain: True if the port answers by this scheme, or the doubt is no more of use.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self.is_certain = urlsplit(base_url).scheme == "https"

    async def check(self, error: Exception) -> None:
        """Look whether the port speaks TLS, at the first failure of plain HTTP before any answer.

        Raises:
            NetworkError: If it does.
        """
        if self.is_certain or classify(error, reading=False) not in _OF_TLS_PORTS:
            return
        self.is_certain = True
        if await _speaks_tls(self._base_url):
            raise NetworkError(NetworkErrorKind.PLAIN_TO_TLS, self._base_url) from None


async def _speaks_tls(url: str) -> bool:
    """Return whether the port of a plain HTTP URL answers a TLS handshake."""
    parts = urlsplit(url)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent over this connection
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or _HTTP_PORT, ssl=context
            )
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # a refusal, but one of TLS
    except (OSError, TimeoutError):
        return False
    writer.transport.abort()
    return True
