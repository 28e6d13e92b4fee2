"""What a connection can do instead of a reply, on real sockets, through both clients."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from dataclasses import dataclass
from typing import Any

import pytest

from reward_client import (
    BadRequestError,
    Limits,
    NonFiniteRewardError,
    ProtocolError,
    RetryPolicy,
    RewardTimeoutError,
    ServerError,
    ServerUnreachableError,
    StatusError,
    Timeouts,
    TransportError,
)

from ...support.raw_server import (
    CONVERSATION,
    LOOPBACK,
    Action,
    Exchange,
    RawServer,
    answer,
    as_it_is,
    body_of,
    expected,
    http,
    response,
    sending,
    then_closed,
    then_reset,
    then_silent,
    true_reply,
)

HALF = b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"data": ['
PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
HTML = {"content-type": "text/html"}


@dataclass(frozen=True)
class Case:
    """What `/pooling` does each time, and what the caller learns."""

    name: str
    action: Action
    error: type[Exception]
    says: str
    requests: int
    attempts: tuple[str, ...] = ()
    options: Any = None


RESET = "connection reset before the response"
CUT = "connection cut during the response"
SHORT = {"timeout": Timeouts(read=0.3)}

CASES = (
    # Three attempts, and one that is not counted.
    Case("reset before the response", then_reset(b""), TransportError, "log", 4, (RESET,) * 3),
    Case("closed before the reply", then_closed(b""), TransportError, "log", 4, (RESET,) * 3),
    Case("closed in the body", then_closed(HALF), TransportError, "proxies", 3, (CUT,) * 2),
    Case("reset in the body", then_reset(HALF), TransportError, "proxies", 3, (CUT,) * 2),
    Case("silent", then_silent(b""), RewardTimeoutError, "Timeouts(read", 1, (), SHORT),
    Case("slow headers", then_silent(HALF[:20]), RewardTimeoutError, "Timeouts(read", 1, (), SHORT),
    Case("slow body", then_silent(HALF), RewardTimeoutError, "Timeouts(read", 1, (), SHORT),
    Case("no HTTP", then_closed(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), ProtocolError, "base_url", 1),
    Case("binary", then_closed(bytes(range(256))), ProtocolError, "base_url", 1),
    Case(
        "header of 100 kB",
        sending(http(b"{}", headers={"x-long": "a" * 100_000})),
        ProtocolError,
        "base_url",
        1,
    ),
    Case("truncated JSON", sending(http(b'{"data": [{"index"')), ProtocolError, "proxy", 1),
    Case("empty", sending(http(b"")), ProtocolError, "base_url", 1),
    Case("a JSON list", sending(http(b"[1, 2]")), ProtocolError, "base_url", 1),
    Case("HTML as 200", sending(http(PAGE, 200, HTML)), ProtocolError, "502 Bad Gateway", 1),
    Case(
        "HTML as 502",
        sending(http(PAGE, 502, HTML)),
        ServerError,
        "502 Bad Gateway",
        3 + 1,
        ("HTTP 502",) * 2,
    ),
    Case(
        "larger than the limit",
        sending(http(b"[" + b"1," * 5_000_000 + b"1]")),
        ProtocolError,
        "Limits(max_response_bytes",
        1,
        (),
        {"limits": Limits(max_response_bytes=1_000_000)},
    ),
    Case(
        "larger than the limit when unpacked",
        sending(http(gzip.compress(b" " * 10_000_000), headers={"content-encoding": "gzip"})),
        ProtocolError,
        "Limits(max_response_bytes",
        1,
        (),
        {"limits": Limits(max_response_bytes=1_000_000)},
    ),
    Case(
        "gzip that is none",
        sending(http(b"{}", headers={"content-encoding": "gzip"})),
        ProtocolError,
        "base_url",
        1,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_reply_fails(server, connect, case: Case):
    client = connect(server.url, **(case.options or {}))
    client.servers()
    server.forget()
    server.plan("/pooling", *[case.action] * 10)

    with pytest.raises(case.error) as caught:
        client.score(CONVERSATION)

    error = caught.value
    requests = server.seen("/pooling")
    assert type(error) is case.error
    assert case.says in str(error)
    assert error.endpoint == f"POST {server.url}/pooling"
    assert error.request_id == requests[-1].id
    assert error.attempts == case.attempts
    assert len(requests) == case.requests
    assert len({request.id for request in requests}) == case.requests
    assert len(server.seen("/tokenize")) == 1


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(then_reset(b""), id="reset before the response"),
        pytest.param(then_closed(b""), id="closed before the reply"),
        pytest.param(then_closed(HALF), id="closed in the body"),
        pytest.param(then_reset(HALF), id="reset in the body"),
        pytest.param(sending(http(PAGE, 500, HTML)), id="500"),
    ],
)
def test_one_fault_is_overcome(server, connect, action: Action):
    client = connect(server.url)
    client.servers()
    server.forget()
    server.plan("/pooling", action)

    reward = client.score(CONVERSATION)

    assert reward.value == expected()
    assert len(server.seen("/pooling")) == 2
    assert len(server.seen("/tokenize")) == 1  # the call is repeated, not the chain


def test_a_fault_in_discovery_is_overcome(server, connect):
    for path in ("/v1/models", "/version", "/openapi.json", "/tokenize", "/pooling"):
        server.plan(path, then_closed(HALF))

    assert connect(server.url).score(CONVERSATION).value == expected()


def test_refused(connect):
    with RawServer(answer) as server:
        url = server.url
    client = connect(url)

    with pytest.raises(ServerUnreachableError, match="Is the server up") as caught:
        client.score(CONVERSATION)

    assert caught.value.attempts == ("connection refused",) * 2
    assert caught.value.endpoint == f"GET {url}/v1/models"
    assert caught.value.request_id


def test_refused_after_it_was_up(server, connect):
    client = connect(server.url)
    client.score(CONVERSATION)
    server.stop()

    with pytest.raises(ServerUnreachableError):
        client.score(CONVERSATION)


def test_unknown_host(connect, monkeypatch):
    # Patched: some networks answer every name.
    def no_such_host(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)

    with pytest.raises(ServerUnreachableError, match="host name in base_url") as caught:
        connect("http://nonexistent.invalid:8000").score(CONVERSATION)

    assert caught.value.attempts == ("unknown host",) * 2


def test_connect_timeout(connect):
    # A full backlog: further handshakes are not answered. It takes some to fill it.
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        address = listening.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        try:
            client = connect(
                f"http://{LOOPBACK}:{address[1]}",
                timeout=Timeouts(connect=0.2),
                retry=RetryPolicy(attempts=2),
            )
            with pytest.raises(RewardTimeoutError, match=r"Timeouts\(connect") as caught:
                client.score(CONVERSATION)
        finally:
            for filler in fillers:
                filler.close()

    assert caught.value.attempts == ("connect timeout",)


def test_total_timeout(server, connect):
    client = connect(server.url, timeout=Timeouts(total=0.5))
    client.servers()
    server.plan("/pooling", then_silent(b""))

    with pytest.raises(RewardTimeoutError, match=r"Timeouts\(total") as caught:
        client.score(CONVERSATION)

    assert isinstance(caught.value, TimeoutError)
    assert server.left.wait(10)  # the request in flight was given up


def test_header_of_9_kb(server, connect):
    client = connect(server.url)
    client.servers()

    async def with_long_header(exchange: Exchange) -> None:
        body = json.dumps(body_of(exchange.request)).encode()
        await exchange.send(http(body, headers={"x-long": "a" * 9_000}))

    server.plan("/pooling", with_long_header)

    assert client.score(CONVERSATION).value == expected()


def test_large_request(server, connect):
    """Several times what an HTTP library takes in one piece without a warning; sent twice here."""
    client = connect(server.url)
    client.servers()
    server.forget()
    turn = {"role": "assistant", "content": "ab" * 2_000_000}
    server.plan("/tokenize", sending(http(b"", 503)), response({"count": 3, "tokens": [1, 2, 3]}))

    assert client.score([turn]).token_count == 3

    for request in server.seen("/tokenize"):
        assert request.json["messages"] == [turn]
        assert request.headers["content-length"] == str(len(request.body))
        assert "transfer-encoding" not in request.headers


def test_body_in_many_pieces(server, connect):
    client = connect(server.url)
    client.servers()

    async def piecemeal(exchange: Exchange) -> None:
        data = true_reply(exchange.request)
        for start in range(0, len(data), 7):
            await exchange.send(data[start : start + 7])
            await asyncio.sleep(0)

    server.plan("/pooling", piecemeal)

    assert client.score(CONVERSATION).value == expected()


@pytest.mark.parametrize("chunked", [False, True])
def test_gzip(server, connect, chunked):
    client = connect(server.url)
    client.servers()

    async def packed(exchange: Exchange) -> None:
        body = gzip.compress(json.dumps(body_of(exchange.request)).encode())
        if not chunked:
            await exchange.send(http(body, headers={"content-encoding": "gzip"}))
            return
        head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
        await exchange.send(head.encode())
        for start in range(0, len(body), 50):
            piece = body[start : start + 50]
            await exchange.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await exchange.send(b"0\r\n\r\n")

    server.plan("/pooling", packed)

    assert client.score(CONVERSATION).value == expected()


def test_chunked_reply_that_ends_early(server, connect):
    client = connect(server.url)
    client.servers()
    server.forget()
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    server.plan("/pooling", then_closed(head + b'8\r\n{"data":\r\n'))

    assert client.score(CONVERSATION).value == expected()
    assert len(server.seen("/pooling")) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(server, connect, status):
    with RawServer(answer) as elsewhere:
        client = connect(server.url, api_key="sk-0123456789")
        client.servers()
        server.forget()
        target = {"location": f"{elsewhere.url}/pooling"}
        server.plan("/pooling", sending(http(b"", status, target)))

        with pytest.raises(StatusError, match="final address as base_url") as caught:
            client.score(CONVERSATION)

        assert caught.value.status == status
        assert not elsewhere.connections
        assert len(server.seen("/pooling")) == 1


def test_stale_connection_costs_no_attempt(server, connect, sleeps):
    """The server has closed an idle connection, and the client does not know yet."""
    client = connect(server.url, retry=RetryPolicy(attempts=1), limits=Limits(max_concurrency=1))
    client.servers()
    server.forget()
    server.plan("/tokenize", as_it_is, then_reset(b""))

    assert client.score(CONVERSATION).value == expected()
    assert client.score([*CONVERSATION, *CONVERSATION]).value

    first, stale, again = server.seen("/tokenize")
    assert first.connection == stale.connection != again.connection
    assert not sleeps


def test_idle_connection_closed_by_the_server(server, connect):
    client = connect(server.url, retry=RetryPolicy(attempts=1))
    client.servers()

    async def then_close_when_idle(exchange: Exchange) -> None:
        await exchange.send(true_reply(exchange.request))
        exchange.close()

    server.plan("/pooling", *[then_close_when_idle] * 3)

    values = [client.score(CONVERSATION).value for _ in range(4)]

    assert values == [expected()] * 4


def test_a_second_reset_spends_an_attempt(server, connect, sleeps):
    client = connect(server.url, retry=RetryPolicy(attempts=2))
    client.servers()
    server.forget()
    server.plan("/pooling", then_reset(b""), then_reset(b""))

    assert client.score(CONVERSATION).value == expected()
    assert len(server.seen("/pooling")) == 3
    assert len(sleeps) == 1


def test_a_reset_on_each_call_is_overcome_each_time(server, connect, sleeps):
    client = connect(server.url, retry=RetryPolicy(attempts=1))
    client.servers()
    server.plan("/tokenize", then_reset(b""))
    server.plan("/pooling", then_reset(b""))

    assert client.score(CONVERSATION).value == expected()
    assert not sleeps


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"null"])
def test_a_number_that_is_none(server, connect, number):
    client = connect(server.url)
    client.servers()

    async def spoilt(exchange: Exchange) -> None:
        value = json.dumps(body_of(exchange.request)["data"][0]["data"]).encode()
        body = json.dumps(body_of(exchange.request)).encode().replace(value, b"[" + number + b"]")
        await exchange.send(http(body))

    server.plan("/pooling", spoilt)

    with pytest.raises(NonFiniteRewardError, match="dtype"):
        client.score(CONVERSATION)


@pytest.mark.parametrize("body", [b"NaN", b"[NaN", b'{"NaN', b"[" * 100_000 + b"NaN"])
def test_a_reply_that_mentions_nan_and_is_no_json(server, connect, body):
    client = connect(server.url)
    client.servers()
    server.plan("/pooling", sending(http(body)))

    with pytest.raises(ProtocolError, match="base_url"):
        client.score(CONVERSATION)


def test_a_refused_input_names_itself(server, connect):
    client = connect(server.url)
    client.servers()
    server.plan("/pooling", response({"error": {"message": "no", "code": 400}}, 400))

    with pytest.raises(BadRequestError, match="no") as caught:
        client.score(CONVERSATION)

    assert caught.value.status == 400
    assert caught.value.attempts == ()
