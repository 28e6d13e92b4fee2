"""What can go wrong on a connection, told apart by its real cause, and what is done about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from reward_client.errors import (
    ProtocolError,
    RewardClientError,
    RewardTimeoutError,
    ServerUnreachableError,
    TransportError,
)


class NetworkErrorKind(Enum):
    """A failure of the connection, before or during a reply."""

    REFUSED = "connection refused"
    UNKNOWN_HOST = "unknown host"
    TLS = "TLS failure"
    PROXY = "proxy failure"
    PROXY_REFUSAL = "refused by the proxy"
    CONNECT_TIMEOUT = "connect timeout"
    RESET = "connection reset before the reply"
    CUT = "connection cut during the reply"
    READ_TIMEOUT = "read timeout"
    NOT_HTTP = "not an HTTP reply"
    TOO_LARGE = "reply too large"
    CLOSED = "client closed"


@dataclass(frozen=True, slots=True)
class NetworkErrorRule:
    """What a fault becomes.

    Attributes:
        error: The error that is raised when retries are off or used up.
        retried: Whether another attempt is made.
        server_lost: Whether another server may have come up since.
        why: The reason for the choice.
        hint: What the caller can do, for the message.
    """

    error: type[RewardClientError]
    retried: bool
    server_lost: bool
    why: str
    hint: str


NETWORK_ERROR_RULES = {
    NetworkErrorKind.REFUSED: NetworkErrorRule(
        ServerUnreachableError,
        retried=True,
        server_lost=True,
        why="a server that restarts comes back",
        hint="Is the server up, and is base_url right?",
    ),
    NetworkErrorKind.UNKNOWN_HOST: NetworkErrorRule(
        ServerUnreachableError,
        retried=True,
        server_lost=True,
        why="name services of clusters fail for moments",
        hint="Check the host name in base_url, and of the proxy if there is one.",
    ),
    NetworkErrorKind.TLS: NetworkErrorRule(
        ServerUnreachableError,
        retried=False,
        server_lost=False,
        why="a certificate does not become valid by asking again",
        hint="Check https:// against http://, and Connection(verify=…, cert=…).",
    ),
    NetworkErrorKind.PROXY: NetworkErrorRule(
        ServerUnreachableError,
        retried=True,
        server_lost=False,
        why="a proxy may be busy for a moment",
        hint="Check Connection(proxy=…) and the proxy environment variables.",
    ),
    NetworkErrorKind.PROXY_REFUSAL: NetworkErrorRule(
        ServerUnreachableError,
        retried=False,
        server_lost=False,
        why="the proxy has decided",
        hint="Check user and password in Connection(proxy=…) or the proxy environment variables.",
    ),
    NetworkErrorKind.CONNECT_TIMEOUT: NetworkErrorRule(
        RewardTimeoutError,
        retried=True,
        server_lost=True,
        why="nothing was sent yet",
        hint="Is the host reachable? Timeouts(connect=…) sets the deadline.",
    ),
    NetworkErrorKind.RESET: NetworkErrorRule(
        TransportError,
        retried=True,
        server_lost=False,
        why="mostly an idle connection that the server closed (vLLM does after 5 s)",
        hint="If it goes on, look into the server's log.",
    ),
    NetworkErrorKind.CUT: NetworkErrorRule(
        TransportError,
        retried=True,
        server_lost=False,
        why="scoring is repeatable",
        hint="If it goes on, look into the server's log and the proxies between.",
    ),
    NetworkErrorKind.READ_TIMEOUT: NetworkErrorRule(
        RewardTimeoutError,
        retried=False,
        server_lost=False,
        why="the server may be busy with it still; asking again doubles its load",
        hint="The server may be overloaded; Timeouts(read=…) sets the deadline.",
    ),
    NetworkErrorKind.NOT_HTTP: NetworkErrorRule(
        ProtocolError,
        retried=False,
        server_lost=False,
        why="another kind of server answers there",
        hint="Does base_url point at a vLLM server, with the right scheme and port?",
    ),
    NetworkErrorKind.TOO_LARGE: NetworkErrorRule(
        ProtocolError,
        retried=False,
        server_lost=False,
        why="the same request has the same reply",
        hint="A reward is small: hidden states may be coming back. "
        "Limits(max_response_bytes=…) sets the limit.",
    ),
    NetworkErrorKind.CLOSED: NetworkErrorRule(
        RewardClientError,
        retried=False,
        server_lost=False,
        why="the caller wants no more",
        hint="The client was closed while this call was under way.",
    ),
}


class NetworkError(Exception):
    """A fault on the wire; turned into the error of its rule before anybody sees it."""

    def __init__(self, kind: NetworkErrorKind, reason: str) -> None:
        super().__init__(f"{kind.value}: {reason}")
        self.kind = kind


# Transports that callers bring wrap what they met (httpx-aiohttp 0.2 reports refused, unknown host,
# reset and proxy failure all as ConnectTimeout), so the whole chain of causes is searched, and the
# most telling class in it decides. Names instead of classes: aiohttp, httpx, httpcore and httpx2
# (openai) use the same ones; none is imported here.
_BY_CLASS_NAME = (
    ("ClientConnectorDNSError", NetworkErrorKind.UNKNOWN_HOST),
    ("gaierror", NetworkErrorKind.UNKNOWN_HOST),
    ("UnicodeError", NetworkErrorKind.UNKNOWN_HOST),  # a host name that cannot be one
    ("ClientHttpProxyError", NetworkErrorKind.PROXY),
    ("ClientProxyConnectionError", NetworkErrorKind.PROXY),
    ("ProxyError", NetworkErrorKind.PROXY),
    ("SSLError", NetworkErrorKind.TLS),
    ("CertificateError", NetworkErrorKind.TLS),
    ("ClientConnectorCertificateError", NetworkErrorKind.TLS),
    ("ConnectionTimeoutError", NetworkErrorKind.CONNECT_TIMEOUT),
    ("SocketTimeoutError", NetworkErrorKind.READ_TIMEOUT),
    ("ReadTimeout", NetworkErrorKind.READ_TIMEOUT),
    ("WriteTimeout", NetworkErrorKind.READ_TIMEOUT),
    ("ConnectionRefusedError", NetworkErrorKind.REFUSED),
    ("ClientConnectorError", NetworkErrorKind.REFUSED),
    ("ConnectError", NetworkErrorKind.REFUSED),
    ("ServerDisconnectedError", NetworkErrorKind.RESET),
    ("ContentEncodingError", NetworkErrorKind.NOT_HTTP),
    ("ClientPayloadError", NetworkErrorKind.CUT),
    ("HttpProcessingError", NetworkErrorKind.NOT_HTTP),
    ("ClientResponseError", NetworkErrorKind.NOT_HTTP),
    ("DecodingError", NetworkErrorKind.NOT_HTTP),
    ("ClientConnectionError", NetworkErrorKind.RESET),
    ("ConnectionError", NetworkErrorKind.RESET),
    ("ReadError", NetworkErrorKind.RESET),
    ("WriteError", NetworkErrorKind.RESET),
    ("CloseError", NetworkErrorKind.RESET),
    ("ConnectTimeout", NetworkErrorKind.CONNECT_TIMEOUT),
    ("PoolTimeout", NetworkErrorKind.CONNECT_TIMEOUT),
)

# How both libraries begin to say that CONNECT was answered with a status.
_PROXY_REFUSED = re.compile(r"40[0-7]\b")


def classify(error: BaseException, *, reading: bool) -> NetworkErrorKind | None:
    """The fault behind an exception of an HTTP library, or None if it is not one.

    Args:
        error: What was raised.
        reading: Whether the status line and headers of the reply had arrived before.
    """
    chain = list(_causes(error))
    names = {cls.__name__ for link in chain for cls in type(link).__mro__}
    if "RemoteProtocolError" in names:
        # h11 has one class for a peer that left and for one that speaks something else.
        text = " ".join(map(str, chain))
        if "peer closed" in text:
            return NetworkErrorKind.CUT
        return NetworkErrorKind.RESET if "disconnected" in text else NetworkErrorKind.NOT_HTTP
    fault = next((fault for name, fault in _BY_CLASS_NAME if name in names), None)
    if fault is NetworkErrorKind.PROXY and any(_PROXY_REFUSED.match(str(link)) for link in chain):
        return NetworkErrorKind.PROXY_REFUSAL
    return NetworkErrorKind.CUT if reading and fault is NetworkErrorKind.RESET else fault


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
