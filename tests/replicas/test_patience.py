"""The default patience: what fails within seconds, and what waits."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from reward_client import (
    AuthenticationError,
    InputError,
    RetryPolicy,
    RewardTimeoutError,
    ServerError,
    ServerUnreachableError,
    Timeouts,
    TransportError,
)
from reward_client._client import session
from reward_client._replicas import monitor
from reward_client._transport import http_transport
from reward_client.testing import RewardServer

from ..support.either import OPENERS, EitherClient
from ..support.raw_server import (
    CONVERSATION,
    Action,
    RawServer,
    Request,
    answer,
    expected,
    http,
    response,
    sending,
    then_closed,
    then_reset,
)
from .restarting import free_port, restart_and_compare

Connect = Callable[..., EitherClient]

QUICK = RetryPolicy(max_wait=0.02)
"""The default, except that no wait is long."""
AWAY = [sending(http(b"", status)) for status in (502, 503, 504, 429)]
PAGE = b"<html><h1>Gone</h1></html>"
FOR_IT = {
    "fin": then_closed(b""),
    "rst": then_reset(b""),
    "cut": then_closed(http(b"{", length=9)),
    "a page": then_closed(http(PAGE)),
    "404": then_closed(http(b"404 page not found\n", 404)),
    "405": then_closed(http(PAGE, 405)),
    "500": then_closed(http(PAGE, 500)),
    "501": then_closed(http(PAGE, 501)),
    "503": then_closed(http(PAGE, 503)),
}
"""What forwarders, routers and ingresses say to everybody while their server is away."""
TYPED = {"error": {"message": "Refused.", "type": "policy_violation"}}
ALONE = {
    "reset": then_reset(b""),
    "500": sending(http(PAGE, 500)),
    **{f"typed {status}": response(TYPED, status) for status in (500, 502, 503, 520)},
}
"""What gateways say to one request that they, or their servers, do not take."""


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with ExitStack() as opened:

        def open_client(url: str, **options: Any) -> EitherClient:
            options = {"timeout": Timeouts(total=30), **options}  # ends a test that waits in vain
            return opened.enter_context(closing(OPENERS[request.param](url, **options)))

        yield open_client


@contextmanager
def away(server: RawServer, action: Action) -> Iterator[None]:
    """Somebody else answers for a second."""
    server.answer = lambda _: action
    back = threading.Timer(1, lambda: setattr(server, "answer", answer))
    back.start()
    yield
    back.join()


@pytest.fixture
def later() -> Iterator[Callable[[int], None]]:
    """Starts a test server on a port after a second."""
    with ExitStack() as opened:

        def start(port: int) -> None:
            server = RewardServer(port=port)
            opened.callback(server.__exit__, None, None, None)
            timer = threading.Timer(1, server.__enter__)
            opened.callback(timer.join)
            timer.start()

        yield start


def test_38_a_first_contact_fails_within_seconds(connect, caplog, monkeypatch):
    monkeypatch.setattr(http_transport, "RESTART_SECONDS", 0.3)
    client = connect(f"http://127.0.0.1:{free_port()}")
    started = time.monotonic()

    with pytest.raises(ServerUnreachableError, match="wait_until_ready"):
        client.score([5, 6, 7])

    assert time.monotonic() - started < 15
    assert not caplog.records


def test_38_a_server_that_answered_before_is_awaited(connect, caplog, monkeypatch):
    monkeypatch.setattr(http_transport, "RESTART_SECONDS", 0.3)
    with RawServer(answer) as server:
        client = connect(server.url, retry=QUICK)
        client.servers()
    again = RawServer(answer, port=server.port)
    outage = threading.Timer(1, again.__enter__)
    outage.start()
    try:
        assert client.score(CONVERSATION).value == expected()
    finally:
        outage.join()
        again.stop()
    (warning,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert warning.getMessage() == (
        f"{server.url} is away (connection refused). Requests wait for it up to 600 s."
    )


def test_38_a_busy_gateway_is_awaited(connect):
    with RawServer(answer) as server:
        client = connect(server.url, retry=QUICK)
        client.servers()
        server.plan("/pooling", *AWAY * 5)

        assert client.score(CONVERSATION).value == expected()


@pytest.mark.parametrize("gone", FOR_IT.values(), ids=FOR_IT)
def test_38_a_server_is_awaited_behind_whoever_answers_for_it(connect, gone, caplog, monkeypatch):
    monkeypatch.setattr(http_transport, "RESTART_SECONDS", 0.3)
    with RawServer(answer) as server:
        client = connect(server.url, retry=QUICK)
        client.servers()
        with away(server, gone):
            assert client.score(CONVERSATION).value == expected()
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 1


def test_38_one_warning_for_one_outage(caplog, monkeypatch):
    """Samples that still sleep when the server is back say nothing about it."""
    monkeypatch.setattr(http_transport, "RESTART_SECONDS", 0.2)
    samples = [[5, n % 90, n // 90] for n in range(600)]
    retry = RetryPolicy(max_wait=0.5)
    with RawServer(answer) as server, closing(OPENERS["async"](server.url, retry=retry)) as client:
        client.servers()
        with away(server, then_closed(http(PAGE, 503))):
            client.score_many(samples)
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 1


@pytest.mark.parametrize("gone", FOR_IT.values(), ids=FOR_IT)
def test_38_a_discovery_waits_too(connect, gone, monkeypatch):
    monkeypatch.setattr(monitor, "RESTART_SECONDS", 0)  # whatever it said is old
    with RawServer(answer) as server:
        client = connect(server.url, retry=QUICK)
        client.servers()
        server.forget()
        with away(server, gone):
            client.servers()
        assert server.seen("/v1/models")


@pytest.mark.parametrize("alone", ALONE.values(), ids=ALONE)
def test_38_a_request_that_fails_alone_is_not(connect, alone):
    with RawServer(answer) as server:
        client = connect(server.url, retry=QUICK)
        client.servers()
        server.answer = lambda each: alone if each.json == sample else answer(each)
        sample = {**server.seen("/pooling")[-1].json, "input": [[4, 5, 6]]}

        with pytest.raises((ServerError, TransportError)):
            client.score([4, 5, 6])

        sent = [each for each in server.seen("/pooling") if each.json == sample]
        assert 5 <= len(sent) <= 7  # some are repeated at once, others may first be of the moment


def test_38_a_request_that_kills_the_server_is_not(connect):
    """Each time it is gone for a while, behind a port that stays open."""
    gone_until = 0.0

    def mortal(each: Request) -> Action:
        nonlocal gone_until
        if time.monotonic() < gone_until:
            return then_closed(b"")
        if each.json == poison:
            gone_until = time.monotonic() + 0.3
            deaths.append(gone_until)
            return then_closed(b"")
        return answer(each)

    deaths: list[float] = []
    with RawServer(answer) as server:
        client = connect(server.url, retry=QUICK)
        client.servers()
        poison = {**server.seen("/pooling")[-1].json, "input": [[4, 5, 6]]}
        server.answer = mortal

        with pytest.raises(TransportError):
            client.score([4, 5, 6])

    assert 1 < len(deaths) <= 5


def test_38_a_server_that_is_starting_can_be_awaited(connect, later, monkeypatch):
    monkeypatch.setattr(http_transport, "_FIRST_CONTACT_SECONDS", 0.1)
    port = free_port()
    client = connect(f"http://127.0.0.1:{port}")
    later(port)

    client.wait_until_ready(timeout=30)

    assert client.servers()


def test_38_a_connection_that_nobody_answers_takes_a_share_of_the_wait(connect, later, monkeypatch):
    monkeypatch.setattr(session, "_FIRST_SHARE", 0.2)
    port = free_port()
    client = connect(f"http://127.0.0.1:{port}")
    silent = socket.create_server(("127.0.0.1", port))
    held: list[socket.socket] = []

    def hold_the_first() -> None:
        held.append(silent.accept()[0])
        silent.close()

    holding = threading.Thread(target=hold_the_first)
    holding.start()
    later(port)

    client.wait_until_ready(timeout=20)

    holding.join()
    held[0].close()
    assert client.servers()


def test_38_a_wait_names_the_server_and_the_last_attempt(connect):
    def loading(_):
        return sending(http(b'{"error": {"message": "model is loading"}}', 503))

    with (
        RawServer(loading) as server,
        pytest.raises(RewardTimeoutError, match="model is loading") as caught,
    ):
        connect(server.url).wait_until_ready(timeout=1)
    assert f"at {server.url}. The last attempt: HTTP 503" in str(caught.value)

    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RewardTimeoutError, match=r"The last attempt: .*refused") as caught:
        connect(url).wait_until_ready(timeout=1)
    assert url in str(caught.value)
    assert "wait_until_ready" not in str(caught.value)


@pytest.mark.parametrize("timeout", [None, "3", True, 0, -1, float("nan"), float("inf")])
def test_a_wait_is_a_number_of_seconds(connect, timeout):
    with pytest.raises(InputError, match="timeout= must be a number of seconds above 0, not"):
        connect("http://127.0.0.1:9").wait_until_ready(timeout=timeout)


def test_a_wait_has_an_end(connect):
    client = connect(f"http://127.0.0.1:{free_port()}")

    with pytest.raises(RewardTimeoutError, match=r"within 0\.2 s") as caught:
        client.wait_until_ready(timeout=0.2)

    assert isinstance(caught.value.__cause__, ServerUnreachableError | None)


def test_a_wait_ends_at_a_server_that_cannot_give_a_reward(connect):
    with RawServer(lambda _: sending(http(b"", 401))) as server:
        started = time.monotonic()
        with pytest.raises(AuthenticationError):
            connect(server.url).wait_until_ready(timeout=60)
        assert time.monotonic() - started < 30


def test_a_restart_fails_no_sample():
    run = restart_and_compare(4_000, away=3, kill_after=0.2)

    assert (run.rewards, run.wrong, run.failures) == (4_000, 0, {})
