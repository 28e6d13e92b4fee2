"""Requests that go through a caller's OpenAI client: its key and headers, our errors."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from reward_client import (
    AsyncRewardClient,
    AuthenticationError,
    BadRequestError,
    InputError,
    Limits,
    ProtocolError,
    RateLimitedError,
    RetryPolicy,
    RewardClient,
    RewardClientError,
    RewardTimeoutError,
    ServerError,
    ServerUnreachableError,
    StatusError,
    Timeouts,
    TransportError,
)

from ...support.either import EitherClient
from ...support.raw_server import (
    CONVERSATION,
    RawServer,
    answer,
    expected,
    http,
    response,
    sending,
    then_closed,
    then_reset,
    then_silent,
)
from .carriers import KEY, TENANT, OverAsyncOpenAI, over_openai

openai = pytest.importorskip("openai")

HALF = b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"data": ['

VERSION = tuple(map(int, openai.VERSION.split(".")[:2]))

Connect = Callable[..., EitherClient]


@pytest.fixture(params=[over_openai, OverAsyncOpenAI.open], ids=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Opens a client over an OpenAI client."""
    with ExitStack() as opened:

        def open_client(url: str, **options: object) -> EitherClient:
            options.setdefault("retry", RetryPolicy(attempts=3))
            return opened.enter_context(closing(request.param(url, **options)))

        yield open_client


def test_requests_go_through_it(server, connect):
    assert connect(server.url).score(CONVERSATION).value == expected()

    assert server.requests
    for request in server.requests:
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["x-tenant"] == TENANT["X-Tenant"]
        assert "OpenAI" in request.headers["user-agent"]
        assert request.id.startswith("rc-")


@pytest.mark.parametrize(
    ("action", "error", "says", "requests"),
    [
        pytest.param(then_reset(b""), TransportError, "before the response", 4, id="reset"),
        pytest.param(then_closed(b""), TransportError, "before the response", 4, id="closed"),
        pytest.param(then_closed(HALF), TransportError, "during the response", 3, id="cut"),
        pytest.param(then_silent(b""), RewardTimeoutError, "Timeouts(read", 1, id="silent"),
        pytest.param(then_silent(HALF), RewardTimeoutError, "Timeouts(read", 1, id="slow body"),
        pytest.param(then_closed(b"SSH-2.0\r\n\r\n"), ProtocolError, "base_url", 1, id="no HTTP"),
        pytest.param(sending(http(b"")), ProtocolError, "base_url", 1, id="empty"),
        pytest.param(sending(http(b'{"da')), ProtocolError, "proxy", 1, id="truncated JSON"),
        pytest.param(sending(http(b"", 500)), ServerError, "500", 3 + 1, id="500"),
        pytest.param(sending(http(b"", 429)), RateLimitedError, "429", 3, id="429"),
        pytest.param(sending(http(b"", 401)), AuthenticationError, "key", 1, id="401"),
        pytest.param(
            response({"error": {"message": "no", "code": 400}}), BadRequestError, "no", 1, id="200"
        ),
        pytest.param(
            sending(http(b"[" + b"1," * 500_000 + b"1]")),
            ProtocolError,
            "Limits(max_response_bytes",
            1,
            id="too large",
        ),
    ],
)
def test_faults_are_told_apart(server, connect, action, error, says, requests):
    client = connect(
        server.url, timeout=Timeouts(read=0.5), limits=Limits(max_response_bytes=500_000)
    )
    client.servers()
    server.forget()
    server.plan("/pooling", *[action] * 9)

    with pytest.raises(error) as caught:
        client.score(CONVERSATION)

    seen = server.seen("/pooling")
    assert type(caught.value) is error
    assert says in str(caught.value)
    assert caught.value.request_id == seen[-1].id
    assert len(seen) == len({request.id for request in seen}) == requests
    assert len(server.seen("/tokenize")) == 1


@pytest.mark.parametrize("name", ["HTTP_PROXY", "all_proxy"])
def test_68_no_proxy_reaches_this_machine(server, connect, monkeypatch, name):
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    client = connect(server.url)
    if isinstance(client, RewardClient):  # whose connections are the client's own
        assert client.score(CONVERSATION).value == expected()


@pytest.mark.parametrize("way", ["environment", "http_client"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_68_the_proxy_of_a_callers_client_is_named(monkeypatch, way, scheme):
    password = "pw-0123456789"
    with RawServer(lambda _: sending(http(b"blocked", 403))) as proxy:
        address = f"http://me:{password}@127.0.0.1:{proxy.port}"
        given = {}
        if way == "environment":
            monkeypatch.setenv(f"{scheme}_proxy", address)
        else:
            given["http_client"] = openai.DefaultAsyncHttpxClient(proxy=address)
        carrier = openai.AsyncOpenAI(base_url=f"{scheme}://127.0.0.1:1/v1", api_key=KEY, **given)
        with RewardClient.from_openai(carrier, retry=RetryPolicy(attempts=1)) as client:
            with pytest.raises(RewardClientError) as caught:
                client.score(CONVERSATION)
            client._run(carrier.close())

    assert f"the proxy http://127.0.0.1:{proxy.port} of the OpenAI client" in str(caught.value)
    assert "DefaultAsyncHttpxClient(trust_env=False)" in str(caught.value)
    assert password not in str(caught.value)


def test_68_a_client_without_a_proxy_names_none(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    carrier = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY)
    server.plan("/pooling", *[sending(http(b"", 401))] * 9)
    with RewardClient.from_openai(carrier) as client:
        with pytest.raises(AuthenticationError) as caught:
            client.score(CONVERSATION)
        client._run(carrier.close())
    assert "proxy" not in str(caught.value)


def test_refused(connect):
    with RawServer(answer) as gone:
        pass

    with pytest.raises(ServerUnreachableError, match="Is the server up") as caught:
        connect(gone.url).score(CONVERSATION)

    assert caught.value.attempts == ("connection refused",) * 2


def test_redirects_are_not_followed(server, connect):
    with RawServer(answer) as elsewhere:
        client = connect(server.url)
        client.servers()
        target = {"location": f"{elsewhere.url}/pooling"}
        server.plan("/pooling", sending(http(b"", 307, target)))

        with pytest.raises(StatusError, match="final address"):
            client.score(CONVERSATION)
        if VERSION >= (1, 83):
            assert not elsewhere.connections


@pytest.mark.parametrize("before", ["", "x" * 290])
def test_an_error_that_repeats_the_key(server, connect, caplog, before):
    caplog.set_level(logging.DEBUG, "reward_client")
    client = connect(server.url)
    client.servers()
    echo = f"{before}{KEY} of {TENANT['X-Tenant']} is wrong"
    server.plan("/pooling", *[response({"error": {"message": echo}}, 401)] * 3)

    with pytest.raises(AuthenticationError) as caught:
        client.score(CONVERSATION)

    for secret in (KEY, TENANT["X-Tenant"]):
        assert secret[:8] not in str(caught.value)
        assert secret[:8] not in caplog.text


def test_event_loops_in_a_row(server):
    """Connections of a client made from a synchronous one are our own, as without OpenAI."""
    carrier = openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY)
    client = AsyncRewardClient.from_openai(carrier)

    async def score() -> float:
        async with asyncio.timeout(60):
            value = (await client.score(CONVERSATION)).value
        await client._session.core.aclose()
        return value

    assert [asyncio.run(score()) for _ in range(3)] == [expected()] * 3


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_openai_client_of_another_event_loop(server):
    """openai's own calls fail like this, too: its connections belong to the first loop."""
    carrier = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY)
    client = AsyncRewardClient.from_openai(carrier)
    asyncio.run(client.servers())

    with pytest.raises(InputError, match="one for each event loop"):
        asyncio.run(client.score(CONVERSATION))

    del client, carrier
    gc.collect()
    gc.collect()  # the first pass ends what still refers to a connection


def test_an_asynchronous_one_for_the_synchronous_client(server):
    carrier = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY)
    with RewardClient.from_openai(carrier) as client:
        assert client.score(CONVERSATION).value == expected()
        client._run(carrier.close())


def test_nothing_is_left_open(server):
    """What closing leaves behind would be an error here: a ResourceWarning."""
    carrier = openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY)
    with RewardClient.from_openai(carrier) as client:
        client.score(CONVERSATION)
    carrier.close()
    del client
    gc.collect()


def test_a_client_that_cannot_be_carried_over():
    httpx = pytest.importorskip("httpx2" if VERSION >= (3, 0) else "httpx")
    with httpx.Client() as custom:
        carrier = openai.OpenAI(base_url="http://far", api_key=KEY, http_client=custom)
        with pytest.raises(InputError, match="AsyncOpenAI"):
            RewardClient.from_openai(carrier)


def test_something_else():
    with pytest.raises(InputError, match="OpenAI client"):
        RewardClient.from_openai(object())


@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
def test_without_the_extra(monkeypatch, kind):
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.delitem(sys.modules, "reward_client._transport.backends.openai", raising=False)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'reward-client\[openai\]'"):
        kind.from_openai("http://localhost:8000")
