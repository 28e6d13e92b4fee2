"""What the exceptions of HTTP libraries mean; `tests/integration/faults` uses sockets."""

from __future__ import annotations

import socket
import ssl

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey

from reward_client._transport.network_errors import (
    NETWORK_ERROR_RULES,
    NetworkError,
    NetworkErrorKind,
    classify,
)
from reward_client._transport.redaction import redact
from reward_client.errors import RewardClientError

KEY = ConnectionKey(
    "far", 80, is_ssl=False, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None
)
DNS = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def caused(error: BaseException, *causes: BaseException) -> BaseException:
    """The error with a chain of causes."""
    link = error
    for cause in causes:
        link.__cause__ = cause
        link = cause
    return error


CASES = [
    (aiohttp.ClientConnectorDNSError(KEY, DNS), NetworkErrorKind.UNKNOWN_HOST),
    (httpx.ConnectError("Name or service not known"), NetworkErrorKind.REFUSED),
    (caused(httpx.ConnectError(""), DNS), NetworkErrorKind.UNKNOWN_HOST),
    (UnicodeError("label too long"), NetworkErrorKind.UNKNOWN_HOST),
    (
        aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "refused")),
        NetworkErrorKind.REFUSED,
    ),
    (
        aiohttp.ClientConnectorError(KEY, OSError(24, "Too many open files")),
        NetworkErrorKind.REFUSED,
    ),
    (aiohttp.ClientProxyConnectionError(KEY, ConnectionRefusedError()), NetworkErrorKind.PROXY),
    (httpx.ProxyError("503 Service Unavailable"), NetworkErrorKind.PROXY),
    (httpx.ProxyError("407 Proxy Authentication Required"), NetworkErrorKind.PROXY_REFUSAL),
    (httpx.ProxyError("403 Forbidden"), NetworkErrorKind.PROXY_REFUSAL),
    (httpx.ProxyError("429 Too Many Requests"), NetworkErrorKind.PROXY),
    (aiohttp.ConnectionTimeoutError(), NetworkErrorKind.CONNECT_TIMEOUT),
    (httpx.ConnectTimeout(""), NetworkErrorKind.CONNECT_TIMEOUT),
    (httpx.PoolTimeout(""), NetworkErrorKind.CONNECT_TIMEOUT),
    (aiohttp.SocketTimeoutError(), NetworkErrorKind.READ_TIMEOUT),
    (httpx.ReadTimeout(""), NetworkErrorKind.READ_TIMEOUT),
    (httpx.WriteTimeout(""), NetworkErrorKind.READ_TIMEOUT),
    (aiohttp.ServerDisconnectedError(), NetworkErrorKind.RESET),
    (aiohttp.ClientOSError(104, "Connection reset by peer"), NetworkErrorKind.RESET),
    (ConnectionResetError(104, "reset"), NetworkErrorKind.RESET),
    (BrokenPipeError(32, "broken pipe"), NetworkErrorKind.RESET),
    (httpx.ReadError(""), NetworkErrorKind.RESET),
    (httpx.WriteError(""), NetworkErrorKind.RESET),
    (
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        NetworkErrorKind.RESET,
    ),
    (
        httpx.RemoteProtocolError("peer closed connection without sending it all"),
        NetworkErrorKind.CUT,
    ),
    (httpx.RemoteProtocolError("illegal status line"), NetworkErrorKind.NOT_HTTP),
    (aiohttp.ClientPayloadError("Response payload is not completed"), NetworkErrorKind.CUT),
    (aiohttp.http_exceptions.BadStatusLine("SSH-2.0"), NetworkErrorKind.NOT_HTTP),
    (aiohttp.http_exceptions.LineTooLong("", 1), NetworkErrorKind.NOT_HTTP),
    (httpx.DecodingError("incorrect header check"), NetworkErrorKind.NOT_HTTP),
    (ssl.SSLError(1, "wrong version number"), NetworkErrorKind.TLS),
    (ssl.SSLCertVerificationError(1, "self-signed"), NetworkErrorKind.TLS),
    (caused(httpx.ConnectError(""), ssl.SSLError(1, "wrong version number")), NetworkErrorKind.TLS),
    (ValueError("a mistake of ours"), None),
    (RuntimeError("another one"), None),
]


@pytest.mark.parametrize(("error", "fault"), CASES)
def test_classes(error, fault):
    assert classify(error, reading=False) is fault


@pytest.mark.parametrize(
    ("error", "fault"), [case for case in CASES if type(case[0]).__module__.startswith("aiohttp")]
)
def test_the_cause_counts_more_than_what_it_was_mapped_to(error, fault):
    # httpx-aiohttp makes a connect timeout of nearly everything.
    mapped = caused(httpx.ConnectTimeout(str(error)), error)

    assert classify(mapped, reading=False) is fault


def test_a_reset_in_a_reply_is_a_cut():
    assert classify(ConnectionResetError(), reading=True) is NetworkErrorKind.CUT
    assert classify(httpx.ReadError(""), reading=True) is NetworkErrorKind.CUT
    assert classify(httpx.ReadTimeout(""), reading=True) is NetworkErrorKind.READ_TIMEOUT


@pytest.mark.parametrize("fault", NetworkErrorKind)
def test_every_fault_has_a_rule(fault):
    rule = NETWORK_ERROR_RULES[fault]

    assert issubclass(rule.error, RewardClientError)
    assert rule.why
    assert rule.hint.endswith((".", "?"))
    assert rule.error("message", endpoint="GET http://far", request_id="rc-1").endpoint
    assert str(NetworkError(fault, "because")) == f"{fault.value}: because"


@pytest.mark.parametrize(
    ("sent", "text", "shown"),
    [
        ({"authorization": "Bearer sk-123456"}, "no sk-123456!", "no ***!"),
        ({"Authorization": "Bearer sk-123456"}, "Bearer sk-123456", "Bearer ***"),
        ({"authorization": "Basic dXNlcjpwdw=="}, "dXNlcjpwdw== dXNlcjpwdw%3D%3D", "*** ***"),
        ({"authorization": "sk-123456"}, "sk-123456", "***"),
        ({"x-tenant": "sk-123456", "x-key": "sk-1234567"}, "sk-1234567", "***"),
        ({"x-tenant": "abc"}, "abc", "abc"),
        ({"accept": "application/json"}, "application/json", "application/json"),
        ({"X-Stainless-Lang": "python"}, "python", "python"),
    ],
)
def test_redaction(sent, text, shown):
    assert redact(text, sent) == shown
