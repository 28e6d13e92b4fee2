"""Responses without end, in time or in size, over each way for the requests of either client."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import cache
from itertools import repeat

import pytest

from reward_client import (
    Limits,
    ProtocolError,
    RetryPolicy,
    RewardTimeoutError,
    ServerError,
    Timeouts,
)
from reward_client._transport.backends import base

from ...support.raw_server import (
    CONVERSATION,
    Action,
    Exchange,
    expected,
    http,
    true_reply,
)
from .carriers import CARRIERS, Opener

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
SIZED = HEAD + b"content-length: 100000000\r\n\r\n"
SHORT = Timeouts(connect=0.5, read=0.3, total=12)  # the total ends a test that fails
MIB = 2**20


@pytest.fixture(params=CARRIERS.values(), ids=list(CARRIERS))
def connect(request: pytest.FixtureRequest) -> Iterator[Opener]:
    with ExitStack() as opened:

        def open_client(url: str, **options: object):
            options.setdefault("retry", RetryPolicy(attempts=3))
            return opened.enter_context(closing(request.param(url, **options)))

        yield open_client


def trickling(first: bytes, again: bytes, pause: float = 0.02) -> Action:
    """These bytes, and then others again and again until the client leaves."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(first)
        while not exchange.writer.is_closing():
            await exchange.send(again)
            await asyncio.sleep(pause)

    return act


TRICKLES = {
    "body": trickling(HEAD + b"content-length: 1000000\r\n\r\n", b" "),
    "chunks": trickling(CHUNKED, b"1\r\n \r\n"),
    "body of an error": trickling(b"HTTP/1.1 500 No\r\ncontent-length: 1000000\r\n\r\n", b" "),
    "headers": trickling(HEAD, b"x: y\r\n"),
    "102 Processing": trickling(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "1xx as fast as can be": trickling(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, 0),
}


@pytest.mark.parametrize("trickle", TRICKLES.values(), ids=list(TRICKLES))
def test_37_a_trickle_ends(server, connect, monkeypatch, trickle):
    monkeypatch.setattr(base, "_LEAST_SECONDS", 0.7)
    client = connect(server.url, timeout=SHORT)
    client.servers()
    server.forget()
    server.plan("/pooling", trickle)
    began = time.monotonic()

    with pytest.raises(RewardTimeoutError, match="Response without end") as caught:
        client.score(CONVERSATION)

    assert time.monotonic() - began < 10
    assert len(server.seen("/pooling")) == 1
    assert caught.value.request_id == server.seen("/pooling")[0].id
    assert client.score(CONVERSATION).value == expected()


def test_37_a_slow_response_in_time(server, connect):
    """Each pause is shorter than the deadline for the next bytes; together they are longer."""

    async def slow(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        reply = true_reply(exchange.request)
        for start in range(0, len(reply), 100):
            await asyncio.sleep(0.2)
            await exchange.send(reply[start : start + 100])

    client = connect(server.url, timeout=Timeouts(read=0.5))
    client.servers()
    server.plan("/pooling", slow)
    assert client.score(CONVERSATION).value == expected()


def zipped(data: bytes, times: int = 1) -> bytes:
    """Data that many times, in gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return b"".join([*map(packer.compress, repeat(data, times)), packer.flush()])


@cache
def bomb(mebibytes: int) -> bytes:
    return zipped(b" " * MIB, mebibytes)


def exploding(status: int) -> Action:
    """A reply that unpacks to 200 MiB."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(http(bomb(200), status, GZIP))

    return act


CHUNK = b"10000\r\n" + b" " * 65536 + b"\r\n"
GZIP = {"content-encoding": "gzip"}
LIMIT = Limits(max_response_bytes=MIB)


def blanks(head: bytes, pieces: int | None = None) -> Action:
    """That many pieces of 64 KiB, or pieces until the client leaves."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(head)
        for _ in repeat(None) if pieces is None else repeat(None, pieces):
            await exchange.send(CHUNK)

    return act


def failed(head: bytes, status: int) -> bytes:
    return head.replace(b"200 OK", f"{status} No".encode())


@pytest.mark.parametrize(
    ("action", "error", "requests"),
    [
        pytest.param(exploding(200), ProtocolError, 1, id="packed"),
        # Three attempts, and one request that shows whether the gateway hides refusals.
        pytest.param(exploding(500), ServerError, 4, id="packed, 500"),
        pytest.param(blanks(SIZED, 1600), ProtocolError, 1, id="large"),
        pytest.param(
            blanks(SIZED.replace(b"200 OK", b"500 No"), 1600), ServerError, 4, id="large, 500"
        ),
        pytest.param(blanks(CHUNKED), ProtocolError, 1, id="endless"),
        pytest.param(blanks(failed(CHUNKED, 503)), ServerError, 3, id="endless, 503"),
    ],
)
def test_39_no_more_than_the_limit_is_read(server, connect, action, error, requests):
    client = connect(server.url, limits=LIMIT)
    client.servers()
    server.forget()
    server.plan("/pooling", *[action] * requests)
    tracemalloc.start()
    try:
        with pytest.raises(error) as caught:
            client.score(CONVERSATION)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert type(caught.value) is error
    assert len(server.seen("/pooling")) == requests
    assert peak < 16 * MIB
    assert client.score(CONVERSATION).value == expected()
