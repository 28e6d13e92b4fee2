"""What the exceptions of HTTP libraries mean; on real sockets `tests/faults` proves the same."""

from __future__ import annotations

import socket
import ssl

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey

from reward_client._transport.network_errors import FAULT_RULES, Fault, WireFaultError, classify
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
    (aiohttp.ClientConnectorDNSError(KEY, DNS), Fault.UNKNOWN_HOST),
    (httpx.ConnectError("Name or service not known"), Fault.REFUSED),
    (caused(httpx.ConnectError(""), DNS), Fault.UNKNOWN_HOST),
    (UnicodeError("label too long"), Fault.UNKNOWN_HOST),
    (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(111, "refused")), Fault.REFUSED),
    (aiohttp.ClientConnectorError(KEY, OSError(24, "Too many open files")), Fault.REFUSED),
    (aiohttp.ClientProxyConnectionError(KEY, ConnectionRefusedError()), Fault.PROXY),
    (httpx.ProxyError("503 Service Unavailable"), Fault.PROXY),
    (httpx.ProxyError("407 Proxy Authentication Required"), Fault.PROXY_REFUSAL),
    (httpx.ProxyError("403 Forbidden"), Fault.PROXY_REFUSAL),
    (httpx.ProxyError("429 Too Many Requests"), Fault.PROXY),
    (aiohttp.ConnectionTimeoutError(), Fault.CONNECT_TIMEOUT),
    (httpx.ConnectTimeout(""), Fault.CONNECT_TIMEOUT),
    (httpx.PoolTimeout(""), Fault.CONNECT_TIMEOUT),
    (aiohttp.SocketTimeoutError(), Fault.READ_TIMEOUT),
    (httpx.ReadTimeout(""), Fault.READ_TIMEOUT),
    (httpx.WriteTimeout(""), Fault.READ_TIMEOUT),
    (aiohttp.ServerDisconnectedError(), Fault.RESET),
    (aiohttp.ClientOSError(104, "Connection reset by peer"), Fault.RESET),
    (ConnectionResetError(104, "reset"), Fault.RESET),
    (BrokenPipeError(32, "broken pipe"), Fault.RESET),
    (httpx.ReadError(""), Fault.RESET),
    (httpx.WriteError(""), Fault.RESET),
    (httpx.RemoteProtocolError("Server disconnected without sending a response."), Fault.RESET),
    (httpx.RemoteProtocolError("peer closed connection without sending it all"), Fault.CUT),
    (httpx.RemoteProtocolError("illegal status line"), Fault.NOT_HTTP),
    (aiohttp.ClientPayloadError("Response payload is not completed"), Fault.CUT),
    (aiohttp.http_exceptions.BadStatusLine("SSH-2.0"), Fault.NOT_HTTP),
    (aiohttp.http_exceptions.LineTooLong("", 1), Fault.NOT_HTTP),
    (httpx.DecodingError("incorrect header check"), Fault.NOT_HTTP),
    (ssl.SSLError(1, "wrong version number"), Fault.TLS),
    (ssl.SSLCertVerificationError(1, "self-signed"), Fault.TLS),
    (caused(httpx.ConnectError(""), ssl.SSLError(1, "wrong version number")), Fault.TLS),
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
    assert classify(ConnectionResetError(), reading=True) is Fault.CUT
    assert classify(httpx.ReadError(""), reading=True) is Fault.CUT
    assert classify(httpx.ReadTimeout(""), reading=True) is Fault.READ_TIMEOUT


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_has_a_rule(fault):
    rule = FAULT_RULES[fault]

    assert issubclass(rule.error, RewardClientError)
    assert rule.why
    assert rule.advice.endswith((".", "?"))
    assert rule.error("message", endpoint="GET http://far", request_id="rc-1").endpoint
    assert str(WireFaultError(fault, "because")) == f"{fault.value}: because"


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
