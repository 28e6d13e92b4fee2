"""Whether connections are used again: seen on real sockets, or not said."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from reward_client import Connection
from reward_client._transport.keep_alive import keeps_alive

from ..support.raw_server import (
    Action,
    RawServer,
    Request,
    answer,
    http,
    sending,
    then_closed,
    then_reset,
    then_silent,
)
from .conftest import Connect
from .test_mishaps import found

HEADERS = {"authorization": "Bearer sk-0123456789"}
BODY = http(b"{}")


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer(answer) as running:
        yield running


def look(url: str, **connection: Any) -> bool | None:
    return asyncio.run(keeps_alive(url, HEADERS, Connection(**connection)))


@pytest.mark.parametrize(
    ("action", "kept"),
    [
        pytest.param(sending(BODY), True, id="kept"),
        pytest.param(sending(http(b"", 401)), True, id="an error"),
        pytest.param(then_closed(BODY), False, id="closed in silence"),
        pytest.param(
            then_closed(http(b"{}", 200, {"connection": "close"})), False, id="closed by notice"
        ),
        pytest.param(sending(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}"), False, id="1.0"),
        pytest.param(then_closed(b""), None, id="no reply"),
        pytest.param(then_reset(b""), None, id="reset"),
        pytest.param(then_closed(b"SSH-2.0\r\n\r\n"), None, id="no HTTP"),
        pytest.param(sending(http(b"x" * (2**20 + 1))), None, id="too large"),
    ],
)
def test_what_a_server_does(server, action: Action, kept: bool | None) -> None:
    server.answer = lambda _: action
    assert look(server.url) is kept


def test_the_key_and_the_path_before_it(server) -> None:
    server.answer = lambda _: sending(BODY)
    assert look(f"{server.url}/gateway/judge") is True
    assert {request.target for request in server.requests} == {"/gateway/judge/v1/models"}
    assert {request.headers["authorization"] for request in server.requests} == {
        HEADERS["authorization"]
    }
    assert server.connections == 1


def test_nobody_there(server) -> None:
    server.stop()
    assert look(server.url) is None


def test_a_server_that_is_silent(server, monkeypatch) -> None:
    soon = aiohttp.ClientTimeout(total=0.1)
    monkeypatch.setattr("reward_client._transport.keep_alive._DEADLINE", soon)
    server.answer = lambda _: then_silent(b"")
    assert look(server.url) is None


@pytest.mark.parametrize(
    "connection",
    [
        {"proxy": "http://127.0.0.1:1"},
        {"verify": False},
        {"verify": os.devnull},
        {"cert": os.devnull},
    ],
)
def test_what_is_not_to_be_seen_is_not_looked_at(server, connection) -> None:
    assert look(server.url, **connection) is None
    assert not server.requests


def test_a_proxy_of_the_environment(server, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert look("http://reward.example") is None
    assert look(server.url) is True  # no proxy reaches this machine
    assert look(server.url, trust_env=False) is True


def closing(request: Request) -> Action:
    """Answers as a vLLM does, and closes the connection."""

    async def act(exchange) -> None:
        await answer(request)(exchange)
        exchange.close()

    return act


def test_the_doctor_says_so(server, connect: Connect) -> None:
    client = connect(server.url)
    assert found(client.diagnose(), "keep-alive").verdict == "ok"
    server.answer = closing
    diagnosis = client.diagnose()
    finding = found(diagnosis, "keep-alive")
    assert finding.verdict == "warning"
    assert "a proxy in front of the server" in (finding.cure or "")
    assert diagnosis.reward is not None  # it works, and is slow
