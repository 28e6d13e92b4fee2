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


class Fault(Enum):
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
class FaultRule:
    """What a fault becomes.

    Attributes:
        error: The error that is raised when retries are off or used up.
        retried: Whether another attempt is made.
        server_lost: Whether another server may have come up since.
        why: The reason for the choice.
        advice: What the caller can do, for the message.
    """

    error: type[RewardClientError]
    retried: bool
    server_lost: bool
    why: str
    advice: str


FAULT_RULES = {
    Fault.REFUSED: FaultRule(
        ServerUnreachableError,
        retried=True,
        server_lost=True,
        why="a server that restarts comes back",
        advice="Is the server up, and is base_url right?",
    ),
    Fault.UNKNOWN_HOST: FaultRule(
        ServerUnreachableError,
        retried=True,
        server_lost=True,
        why="name services of clusters fail for moments",
        advice="Check the host name in base_url, and of the proxy if there is one.",
    ),
    Fault.TLS: FaultRule(
        ServerUnreachableError,
        retried=False,
        server_lost=False,
        why="a certificate does not become valid by asking again",
        advice="Check https:// against http://, and Connection(verify=…, cert=…).",
    ),
    Fault.PROXY: FaultRule(
        ServerUnreachableError,
        retried=True,
        server_lost=False,
        why="a proxy may be busy for a moment",
        advice="Check Connection(proxy=…) and the proxy environment variables.",
    ),
    Fault.PROXY_REFUSAL: FaultRule(
        ServerUnreachableError,
        retried=False,
        server_lost=False,
        why="the proxy has decided",
        advice="Check user and password in Connection(proxy=…) or the proxy environment variables.",
    ),
    Fault.CONNECT_TIMEOUT: FaultRule(
        RewardTimeoutError,
        retried=True,
        server_lost=True,
        why="nothing was sent yet",
        advice="Is the host reachable? Timeouts(connect=…) sets the deadline.",
    ),
    Fault.RESET: FaultRule(
        TransportError,
        retried=True,
        server_lost=False,
        why="mostly an idle connection that the server closed (vLLM does after 5 s)",
        advice="If it goes on, look into the server's log.",
    ),
    Fault.CUT: FaultRule(
        TransportError,
        retried=True,
        server_lost=False,
        why="scoring is repeatable",
        advice="If it goes on, look into the server's log and the proxies between.",
    ),
    Fault.READ_TIMEOUT: FaultRule(
        RewardTimeoutError,
        retried=False,
        server_lost=False,
        why="the server may be busy with it still; asking again doubles its load",
        advice="The server may be overloaded; Timeouts(read=…) sets the deadline.",
    ),
    Fault.NOT_HTTP: FaultRule(
        ProtocolError,
        retried=False,
        server_lost=False,
        why="another kind of server answers there",
        advice="Does base_url point at a vLLM server, with the right scheme and port?",
    ),
    Fault.TOO_LARGE: FaultRule(
        ProtocolError,
        retried=False,
        server_lost=False,
        why="the same request has the same reply",
        advice="A reward is small: hidden states may be coming back. "
        "Limits(max_response_bytes=…) sets the limit.",
    ),
    Fault.CLOSED: FaultRule(
        RewardClientError,
        retried=False,
        server_lost=False,
        why="the caller wants no more",
        advice="The client was closed while this call was under way.",
    ),
}


class WireFaultError(Exception):
    """A fault on the wire; turned into the error of its rule before anybody sees it."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(f"{fault.value}: {reason}")
        self.fault = fault


# Transports that callers bring wrap what they met (httpx-aiohttp 0.2 reports refused, unknown host,
# reset and proxy failure all as ConnectTimeout), so the whole chain of causes is searched, and the
# most telling class in it decides. Names instead of classes: aiohttp, httpx, httpcore and httpx2
# (openai) use the same ones; none is imported here.
_BY_CLASS_NAME = (
    ("ClientConnectorDNSError", Fault.UNKNOWN_HOST),
    ("gaierror", Fault.UNKNOWN_HOST),
    ("UnicodeError", Fault.UNKNOWN_HOST),  # a host name that cannot be one
    ("ClientHttpProxyError", Fault.PROXY),
    ("ClientProxyConnectionError", Fault.PROXY),
    ("ProxyError", Fault.PROXY),
    ("SSLError", Fault.TLS),
    ("CertificateError", Fault.TLS),
    ("ClientConnectorCertificateError", Fault.TLS),
    ("ConnectionTimeoutError", Fault.CONNECT_TIMEOUT),
    ("SocketTimeoutError", Fault.READ_TIMEOUT),
    ("ReadTimeout", Fault.READ_TIMEOUT),
    ("WriteTimeout", Fault.READ_TIMEOUT),
    ("ConnectionRefusedError", Fault.REFUSED),
    ("ClientConnectorError", Fault.REFUSED),
    ("ConnectError", Fault.REFUSED),
    ("ServerDisconnectedError", Fault.RESET),
    ("ContentEncodingError", Fault.NOT_HTTP),
    ("ClientPayloadError", Fault.CUT),
    ("HttpProcessingError", Fault.NOT_HTTP),
    ("ClientResponseError", Fault.NOT_HTTP),
    ("DecodingError", Fault.NOT_HTTP),
    ("ClientConnectionError", Fault.RESET),
    ("ConnectionError", Fault.RESET),
    ("ReadError", Fault.RESET),
    ("WriteError", Fault.RESET),
    ("CloseError", Fault.RESET),
    ("ConnectTimeout", Fault.CONNECT_TIMEOUT),
    ("PoolTimeout", Fault.CONNECT_TIMEOUT),
)

# How both libraries begin to say that CONNECT was answered with a status.
_PROXY_REFUSED = re.compile(r"40[0-7]\b")


def classify(error: BaseException, *, reading: bool) -> Fault | None:
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
            return Fault.CUT
        return Fault.RESET if "disconnected" in text else Fault.NOT_HTTP
    fault = next((fault for name, fault in _BY_CLASS_NAME if name in names), None)
    if fault is Fault.PROXY and any(_PROXY_REFUSED.match(str(link)) for link in chain):
        return Fault.PROXY_REFUSAL
    return Fault.CUT if reading and fault is Fault.RESET else fault


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
