"""Failures of a connection: their kinds, and the error, retries and advice for each kind."""

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
    """The kind of a connection's failure, before or during a response."""

    REFUSED = "connection refused"
    UNKNOWN_HOST = "unknown host"
    TLS = "TLS failure"
    PLAIN_TO_TLS = "plain HTTP to a TLS port"
    PROXY = "proxy failure"
    PROXY_REFUSAL = "refused by the proxy"
    CONNECT_TIMEOUT = "connect timeout"
    RESET = "connection reset before the response"
    CUT = "connection cut during the response"
    READ_TIMEOUT = "read timeout"
    ENDLESS = "response without end"
    NOT_HTTP = "not an HTTP response"
    TOO_LARGE = "response too large"
    CLOSED = "client closed"


@dataclass(frozen=True, slots=True)
class NetworkErrorRule:
    """The treatment of a kind of network error.

    Attributes:
        error: The error to raise when retries are off or used up.
        retried: True if another attempt follows.
        server_lost: True if another server may have come up since.
        why: The reason for the treatment.
        hint: The advice to the caller, for the message.
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
        why="the name service of a cluster may fail for a moment",
        hint="Check the host name in base_url, and that of the proxy if there is one.",
    ),
    NetworkErrorKind.TLS: NetworkErrorRule(
        ServerUnreachableError,
        retried=False,
        server_lost=False,
        why="another attempt does not make a certificate valid",
        hint="Check https:// against http://, and Connection(verify=…, cert=…).",
    ),
    NetworkErrorKind.PLAIN_TO_TLS: NetworkErrorRule(
        ServerUnreachableError,
        retried=False,
        server_lost=False,
        why="the port speaks TLS and nothing else",
        hint="Give base_url with https://.",
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
        why="the proxy will refuse again",
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
        hint="If the error persists, read the server's log.",
    ),
    NetworkErrorKind.CUT: NetworkErrorRule(
        TransportError,
        retried=True,
        server_lost=False,
        why="scoring is repeatable",
        hint="If the error persists, read the logs of the server and of proxies before it.",
    ),
    NetworkErrorKind.READ_TIMEOUT: NetworkErrorRule(
        RewardTimeoutError,
        retried=False,
        server_lost=False,
        why="the server may still be busy with it, and a retry would double its load",
        hint="The server may be overloaded; Timeouts(read=…) sets the deadline.",
    ),
    NetworkErrorKind.ENDLESS: NetworkErrorRule(
        RewardTimeoutError,
        retried=False,
        server_lost=False,
        why="a server or proxy that trickles does so again",
        hint="A response gets twice Timeouts(read=…), and at least 30 s, beside "
        "Timeouts(connect=…). Read the logs of the server and of proxies before it.",
    ),
    NetworkErrorKind.NOT_HTTP: NetworkErrorRule(
        ProtocolError,
        retried=False,
        server_lost=False,
        why="another kind of server answers at this address",
        hint="Does base_url point at the model's server, with the right scheme and port?",
    ),
    NetworkErrorKind.TOO_LARGE: NetworkErrorRule(
        ProtocolError,
        retried=False,
        server_lost=False,
        why="the same request gets the same response",
        hint="Rewards are small: the server may be sending hidden states. "
        "Limits(max_response_bytes=…) sets the limit.",
    ),
    NetworkErrorKind.CLOSED: NetworkErrorRule(
        RewardClientError,
        retried=False,
        server_lost=False,
        why="the caller closed the client",
        hint="The client was closed during this request.",
    ),
}


class NetworkError(Exception):
    """A failure of the connection. Callers see the error of its rule instead."""

    def __init__(self, kind: NetworkErrorKind, reason: str) -> None:
        super().__init__(f"{kind.value}: {reason}")
        self.kind = kind


# The transports of callers wrap their errors: httpx-aiohttp 0.2 reports a refused connection, an
# unknown host, a reset and a proxy failure all as ConnectTimeout. So the whole chain of causes is
# searched, and the first class of this list decides. The list has names, not classes: aiohttp,
# httpx, httpcore and httpx2 (openai) share them, and none is imported here.
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

# The first bytes of an alert of TLS, as the libraries show what they cannot read.
_TLS_ALERT = r"b'\x15\x03"
# OpenSSL's own words: httpx hides the class of their error behind its ConnectError.
_OF_OPENSSL = "[SSL: "
_HIDES_OPENSSL = (NetworkErrorKind.REFUSED, NetworkErrorKind.CONNECT_TIMEOUT)

# The beginning of both libraries' message for a status in response to CONNECT.
_PROXY_REFUSED = re.compile(r"40[0-7]\b")


def classify(error: BaseException, *, reading: bool) -> NetworkErrorKind | None:
    """Return the kind of network error behind an exception; None if it is another error.

    Args:
        error: The exception of an HTTP library.
        reading: True if the status line and headers of the response had arrived before.
    """
    chain = list(_causes(error))
    names = {cls.__name__ for link in chain for cls in type(link).__mro__}
    text = " ".join(map(str, chain))
    if "RemoteProtocolError" in names:
        # h11 has one class for a peer that left and a peer that speaks another protocol.
        if "peer closed" in text:
            return NetworkErrorKind.CUT
        return NetworkErrorKind.RESET if "disconnected" in text else NetworkErrorKind.NOT_HTTP
    kind = next((kind for name, kind in _BY_CLASS_NAME if name in names), None)
    if kind is NetworkErrorKind.PROXY and any(_PROXY_REFUSED.match(str(link)) for link in chain):
        return NetworkErrorKind.PROXY_REFUSAL
    if kind is NetworkErrorKind.NOT_HTTP and _TLS_ALERT in text:
        return NetworkErrorKind.PLAIN_TO_TLS
    if kind in _HIDES_OPENSSL and _OF_OPENSSL in text:
        return NetworkErrorKind.TLS
    return NetworkErrorKind.CUT if reading and kind is NetworkErrorKind.RESET else kind


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
