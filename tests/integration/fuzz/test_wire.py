"""What comes over a real socket: damaged heads, wrong lengths, endless bodies, wrong encodings."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from inspect import signature
from typing import Any

import pytest
from aiohttp.client_proto import ResponseHandler
from hypothesis import given
from hypothesis import strategies as st

from reward_client import (
    AsyncRewardClient,
    Limits,
    RetryPolicy,
    RewardClientError,
    RewardTimeoutError,
    Timeouts,
)

from ...support.raw_server import (
    Action,
    Exchange,
    RawServer,
    answer,
    body_of,
    http,
    reward_of,
    true_reply,
)
from .running import KEY, Outcome, Running, check_error, count, examples

openai = pytest.importorskip("openai")

MEGABYTE = 2**20
over_each = pytest.mark.parametrize("over", ["sockets of its own", "an OpenAI client"])


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer(answer) as running:
        yield running


@asynccontextmanager
async def connected(
    server: RawServer,
    *,
    over: str = "sockets of its own",
    attempts: int = 1,
    limit: int = MEGABYTE,
    total: float | None = None,
) -> AsyncIterator[AsyncRewardClient]:
    """A client that has found out what the server is."""
    options: dict[str, Any] = {
        "retry": RetryPolicy(attempts=attempts, max_wait=0.01),
        "limits": Limits(max_response_bytes=limit),
        "timeout": Timeouts(connect=5, read=5, total=total),
    }
    async with AsyncExitStack() as opened:
        if over == "an OpenAI client":
            carrier = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY)
            opened.push_async_callback(carrier.close)
            client = AsyncRewardClient.from_openai(carrier, **options)
        else:
            client = AsyncRewardClient(server.url, api_key=KEY, **options)
        await opened.enter_async_context(client)
        await client.servers()
        yield client


async def right_or_typed(
    client: AsyncRewardClient, sample: list[int], *, counted: bool = True
) -> None:
    """Scores token IDs; whatever comes is their reward or a typed error."""
    outcome: Outcome
    try:
        outcome = await client.score(sample)
    except RewardClientError as error:
        check_error(error)
        outcome = error
    else:
        assert outcome.value == reward_of(sample)
    if counted:
        count(outcome)


def honest(server: RawServer) -> None:
    """Whatever was planned and not asked for is dropped."""
    server._planned.clear()


# One client for several damaged replies: what one did to a connection must not reach the next.

HEADER_LINES = [
    b"content-length: 0\r\n",
    b"content-length: 5\r\n",
    b"content-length: 99999999999999999999\r\n",
    b"content-length: -1\r\n",
    b"Content-Length: 10, 20\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip\r\n",
    b"content-encoding: gzip\r\n",
    b"content-encoding: gzip, gzip\r\n",
    b"content-encoding: br\r\n",
    b"connection: close\r\n",
    b"connection: upgrade\r\nupgrade: websocket\r\n",
    b"retry-after: \xff\r\n",
    b"x: " + b"y" * 70_000 + b"\r\n",
    b"\r\n",
    b"\x00",
    b" ",
    b":",
]
places = st.sampled_from([0, 9, 17, 26]) | st.integers(0, 60)
pieces = st.sampled_from(HEADER_LINES) | st.binary(min_size=1, max_size=4)
cuts = st.tuples(st.sampled_from(["insert", "overwrite", "delete", "cut"]), places, pieces)
heads = st.tuples(
    st.lists(cuts, min_size=1, max_size=2),
    st.sampled_from([b"", b"", b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"garbage"]),
)


def damaged(data: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    """A reply with changes of the bytes before its body."""
    head, blank, body = data.partition(b"\r\n\r\n")
    bytes_ = bytearray(head + blank)
    for how, place, value in edits:
        at = place % max(1, len(bytes_))
        if how == "insert":
            bytes_[at:at] = value
        elif how == "overwrite":
            bytes_[at : at + len(value)] = value
        else:
            del bytes_[at : at + len(value) if how == "delete" else None]
    return bytes(bytes_) + body


def score_all(runner: Running, server: RawServer, over: str, actions: list[Action]) -> None:
    """A sample for each action, and an honest one after it."""

    async def main() -> None:
        async with connected(server, over=over) as client:
            for number, act in enumerate(actions):
                # A first reset is met by another request: that one is damaged as well.
                server.plan("/pooling", act, act)
                await right_or_typed(client, [10, 20 + number])
                honest(server)
                await right_or_typed(client, [11, 20 + number], counted=False)

    runner.run(main())
    honest(server)


@over_each
@examples(20, 1_000)
@given(responses=st.lists(heads, min_size=1, max_size=8))
def test_damaged_heads(
    runner: Running,
    server: RawServer,
    over: str,
    responses: list[tuple[list[tuple[str, int, bytes]], bytes]],
) -> None:
    def damage(edits: list[tuple[str, int, bytes]], late: bytes) -> Action:
        async def act(exchange: Exchange) -> None:
            await exchange.send(damaged(true_reply(exchange.request), edits) + late)
            exchange.close()

        return act

    score_all(runner, server, over, [damage(*each) for each in responses])


TAILS = [b"", b"\r\n", b"0\r\n\r\n", b'{"data": []}', b"HTTP/1.1 200 OK\r\n\r\n"]


@over_each
@examples(20, 1_000)
@given(
    responses=st.lists(
        st.tuples(st.integers(-40, 40), st.booleans(), st.sampled_from(TAILS)),
        min_size=1,
        max_size=8,
    )
)
def test_wrong_lengths(
    runner: Running, server: RawServer, over: str, responses: list[tuple[int, bool, bytes]]
) -> None:
    def lie(off: int, chunked: bool, tail: bytes) -> Action:
        async def act(exchange: Exchange) -> None:
            body = json.dumps(body_of(exchange.request)).encode()
            size = max(0, len(body) + off)
            if chunked:
                head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
                data = f"{head}{size:x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
            else:
                data = http(body, length=size)
            await exchange.send(data + tail)
            exchange.close()

        return act

    score_all(runner, server, over, [lie(*each) for each in responses])


ENCODINGS = ["gzip", "deflate", "identity", "br", "zstd", "gzip, gzip", "deflate, gzip", "x", ""]


@over_each
@examples(20, 1_000)
@given(
    responses=st.lists(
        st.tuples(
            st.sampled_from(ENCODINGS),
            st.sampled_from([bytes, gzip.compress, zlib.compress]),
            st.integers(-30, 1),
            st.sampled_from([200, 200, 400, 503]),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_wrong_encodings(
    runner: Running, server: RawServer, over: str, responses: list[Any]
) -> None:
    def lie(encoding: str, batch: Callable[[bytes], bytes], cut: int, status: int) -> Action:
        async def act(exchange: Exchange) -> None:
            body = batch(json.dumps(body_of(exchange.request)).encode())
            body = body[:cut] if cut < 0 else body
            await exchange.send(http(body, status, {"content-encoding": encoding}))

        return act

    score_all(runner, server, over, [lie(*each) for each in responses])


@examples(12, 500)
@given(
    delays=st.lists(st.sampled_from([0.0, 0.002, 0.01, 0.03]), min_size=1, max_size=5),
    waits=st.lists(st.sampled_from([0.0, 0.0, 0.004, 0.02]), min_size=5, max_size=5),
)
def test_replies_that_come_twice(
    runner: Running, server: RawServer, delays: list[float], waits: list[float]
) -> None:
    """The second one, of the same number of tokens, is not the reply to the next sample."""

    def twice(delay: float) -> Action:
        async def act(exchange: Exchange) -> None:
            await exchange.send(true_reply(exchange.request))
            await asyncio.sleep(delay)
            await exchange.send(true_reply(exchange.request))

        return act

    async def main() -> None:
        async with connected(server, attempts=3) as client:
            for number, delay in enumerate(delays):
                server.plan("/pooling", twice(delay))
                await right_or_typed(client, [10, 20 + number])
                await asyncio.sleep(waits[number])
                await right_or_typed(client, [11, 20 + number], counted=False)

    runner.run(main())
    honest(server)


# What has no end

HEAD = b"HTTP/1.1 200 OK\r\n"
JSON_HEAD = HEAD + b"content-type: application/json\r\n"
CHUNKED = JSON_HEAD + b"transfer-encoding: chunked\r\n\r\n"


def _packed(size: int, times: int) -> bytes:
    data = bytes(size)
    for _ in range(times):
        data = gzip.compress(data, 1)
    return data


ENDLESS = {
    "body": (JSON_HEAD + b"\r\n[", b"1," * 5_000),
    "body of an error": (b"HTTP/1.1 500 No\r\n\r\n", b"x" * 10_000),
    "chunks of a byte": (CHUNKED, b"1\r\n1\r\n" * 2_000),
    "trailers": (CHUNKED + b"1\r\n1\r\n0\r\n", b"x: y\r\n" * 1_000),
    "headers": (HEAD, b"x: y\r\n" * 1_000),
    "header": (HEAD + b"x: ", b"y" * 10_000),
    "status line": (b"HTTP/1.1 200 ", b"O" * 10_000),
    "text": (b"", b"no HTTP at all " * 500),
    "packed body": (JSON_HEAD + b"content-encoding: gzip\r\n\r\n", _packed(2**24, 1)),
    "body packed twice": (JSON_HEAD + b"content-encoding: gzip, gzip\r\n\r\n", _packed(2**26, 2)),
}
# Nothing of these is kept, so that only time can end them.
EMPTY = {
    "chunk size": (CHUNKED, b"0" * 10_000),
    "chunk extension": (CHUNKED + b"1;", b"x" * 10_000),
    "blank lines": (b"", b"\r\n" * 5_000),
    "promises to continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 500),
}
# Up to 3.13.3, aiohttp reads header lines for as long as they come.
counts_lines = "max_headers" in signature(ResponseHandler.set_response_params).parameters
MOST = 56 * MEGABYTE  # a piece of 16 kB unpacks to 16 MB, and is there three times


@pytest.mark.parametrize("kind", [*ENDLESS, *EMPTY])
def test_no_end(runner: Running, kind: str) -> None:
    """It is given up in time, and before it fills the memory."""
    if kind in ("headers", "trailers") and not counts_lines:
        pytest.skip("this aiohttp has no limit for them")
    head, more = {**ENDLESS, **EMPTY}[kind]
    total = 0.3 if kind in EMPTY else None
    sent = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(head)
        while True:
            await exchange.send(more)
            sent += len(more)

    async def main(server: RawServer) -> RewardClientError:
        async with connected(server, limit=100_000, total=total) as client:
            server.plan("/pooling", flood, flood)
            tracemalloc.start()
            try:
                with pytest.raises(RewardClientError) as caught:
                    await client.score([10, 20])
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert peak < MOST, f"{peak / MEGABYTE:.0f} MB"
            return caught.value

    with RawServer(answer) as server:
        error = runner.run(main(server))
    check_error(error)
    assert isinstance(error, RewardTimeoutError) == (kind in EMPTY)
    assert kind in EMPTY or sent < MOST
