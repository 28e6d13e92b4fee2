"""Which replies are asked for again, how long is waited, and what a call's end looks like."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from reward_client import (
    AsyncRewardClient,
    AuthenticationError,
    BadRequestError,
    EngineDeadError,
    Limits,
    ModelNotFoundError,
    RateLimitedError,
    RetryPolicy,
    RouteNotFoundError,
    ServerError,
    ServerUnreachableError,
    StatusError,
)

from ...support.raw_server import (
    CONVERSATION,
    Exchange,
    RawServer,
    answer,
    as_it_is,
    body_of,
    expected,
    http,
    response,
    reward_of,
    sending,
    then_closed,
)

DATA = Path(__file__).parents[2] / "transport" / "data"
DEATHS = json.loads((DATA / "engine-deaths.json").read_text("utf-8"))
DEAD = DEATHS[0]["json"]
FRESH = {"parent": None, "max_model_len": 1024}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 422, 501, 505])
def test_permanent(server, connect, sleeps, status):
    client = connect(server.url)
    client.servers()
    kind = {
        401: AuthenticationError,
        403: AuthenticationError,
        404: RouteNotFoundError,
        405: RouteNotFoundError,
        501: RouteNotFoundError,
        505: ServerError,
    }.get(status, BadRequestError)
    # A profile may have become wrong: then it is made again, once, before the error is believed.
    server.plan("/pooling", response({"detail": "no"}, status))
    server.forget()
    if kind is RouteNotFoundError:
        assert client.score(CONVERSATION).value == expected()
        assert len(server.seen("/v1/models")) == 1
        return

    with pytest.raises(kind) as caught:
        client.score(CONVERSATION)

    assert caught.value.status == status
    assert caught.value.server_message == "no"
    assert caught.value.attempts == ()
    assert len(server.seen("/pooling")) == 1
    assert not sleeps


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_passing(server, connect, sleeps, status):
    client = connect(server.url)
    client.servers()
    server.forget()
    server.plan("/pooling", *[response({"detail": "later"}, status)] * 2)

    assert client.score(CONVERSATION).value == expected()

    # At the second failure a right and a wrong request tell a refusal from a failure.
    assert len(server.seen("/pooling")) == 3 + 2 * (status in (500, 502))
    assert len(server.seen("/tokenize")) == 1
    assert len(sleeps) == 2
    assert 0 <= sleeps[0] <= 0.5
    assert 0 <= sleeps[1] <= 1


def test_without_retries(server, connect, sleeps):
    client = connect(server.url, retry=RetryPolicy(attempts=1))
    client.servers()
    server.forget()
    server.plan("/pooling", response({"detail": "later"}, 503))

    with pytest.raises(ServerError):
        client.score(CONVERSATION)

    assert len(server.seen("/pooling")) == 1
    assert not sleeps


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "0"}, 0.0),
        ({"retry-after-ms": "1500", "Retry-After": "120"}, 1.5),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_followed(server, connect, sleeps, status, headers, seconds):
    client = connect(server.url)
    client.servers()
    server.plan("/pooling", sending(http(b"", status, headers)))

    assert client.score(CONVERSATION).value == expected()

    assert sleeps == [seconds]


def test_retry_after_as_a_date(server, connect, sleeps):
    client = connect(server.url)
    client.servers()
    date = datetime.now(UTC) + timedelta(seconds=100)
    header = {"retry-after": format_datetime(date, usegmt=True)}
    server.plan("/pooling", sending(http(b"", 429, header)))

    client.score(CONVERSATION)

    (waited,) = sleeps
    assert 0 < waited <= 100


def test_retry_after_beyond_the_budget(server, connect, sleeps):
    client = connect(server.url, retry=RetryPolicy(budget=60))
    client.servers()
    server.forget()
    server.plan("/pooling", sending(http(b"", 429, {"retry-after": "61"})))

    with pytest.raises(RateLimitedError, match="max_concurrency") as caught:
        client.score(CONVERSATION)

    assert caught.value.retry_after == 61
    assert caught.value.attempts == ()
    assert len(server.seen("/pooling")) == 1
    assert not sleeps


def test_another_server_behind_a_gateway_after_a_long_failure(server, connect, monkeypatch):
    """The token IDs of a server that is gone are not scored by the one that came after it."""
    monkeypatch.setattr("reward_client._transport.http_transport.RESTART_SECONDS", -1.0)
    client = connect(server.url)
    client.servers()

    def successor(request):
        if request.path == "/v1/models":
            return response({"data": [{"id": "tiny", "root": "other", **FRESH}]})
        if request.path == "/tokenize":
            ids = body_of(request)["tokens"]
            shifted = [token + 100 for token in ids]
            return response({"count": len(ids), "tokens": shifted, "max_model_len": 1024})
        return answer(request)

    async def replaced(exchange: Exchange) -> None:
        server.answer = successor
        await exchange.send(http(b"", 502))

    server.plan("/pooling", replaced)

    reward = client.score(CONVERSATION)

    ids = [token + 100 for token in body_of(server.seen("/tokenize")[-1])["tokens"]]
    assert reward.value == reward_of(ids) != expected()


@pytest.mark.parametrize("death", DEATHS, ids=lambda death: f"{death['version']}-{death['status']}")
@pytest.mark.parametrize("status", [None, 200])
def test_a_dead_engine_is_tried_once_more(server, connect, death, status):
    client = connect(server.url, retry=RetryPolicy(attempts=5))
    client.servers()
    server.forget()
    server.plan("/pooling", *[response(death["json"], status or death["status"])] * 9)

    with pytest.raises(EngineDeadError, match="restart it") as caught:
        client.score(CONVERSATION)

    assert len(server.seen("/pooling")) == 2
    assert len(caught.value.attempts) == 1


def test_after_a_dead_engine_the_server_is_asked_anew(server, connect):
    client = connect(server.url)
    client.servers()
    server.forget()
    server.plan("/pooling", response(DEAD, 500))

    assert client.score(CONVERSATION).value == expected()

    assert len(server.seen("/v1/models")) == 1


def test_error_in_a_body_of_200(server, connect, sleeps):
    client = connect(server.url)
    client.servers()
    body = {"error": {"message": "Token id 5 is out", "type": "BadRequestError", "code": 400}}
    server.plan("/pooling", response(body, 200))

    with pytest.raises(BadRequestError, match="Token id 5 is out") as caught:
        client.score(CONVERSATION)

    assert caught.value.status == 400
    assert not sleeps


def test_a_model_that_is_gone(server, connect):
    client = connect(server.url, model="tiny")
    client.servers()
    gone = {"error": {"message": "The model `tiny` does not exist.", "type": "NotFoundError"}}
    server.plan("/pooling", *[response(gone, 404)] * 9)

    with pytest.raises(ModelNotFoundError, match="/v1/models"):
        client.score(CONVERSATION)


def test_attempts_are_told_in_order(server, connect):
    client = connect(server.url, retry=RetryPolicy(attempts=4))
    client.servers()
    server.plan(
        "/pooling",
        response({}, 503),
        then_closed(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"),
        then_closed(b""),
        response({}, 500),
        response({"detail": "no"}, 400),
    )

    with pytest.raises(BadRequestError) as caught:
        client.score(CONVERSATION)

    assert caught.value.attempts == (
        "HTTP 503",
        "connection cut during the response",
        "connection reset before the response",
        "HTTP 500",
    )
    assert "after 5 attempts: HTTP 503; " in str(caught.value)


def test_bulk_names_each_failure(server, connect):
    limits = Limits(max_concurrency=1, max_batch_items=1)
    client = connect(server.url, retry=RetryPolicy(attempts=1), limits=limits)
    client.servers()
    server.plan("/pooling", as_it_is, response({"detail": "no"}, 400), as_it_is)
    samples = [[{"role": "assistant", "content": text}] for text in "abc"]

    results = client.score_many(samples, on_error="return")

    assert sorted(isinstance(result, StatusError) for result in results) == [False, False, True]


def test_concurrent_calls_retry_independently(server, connect):
    """One retry loop serves all calls at once; each must count and answer for itself."""
    client = connect(server.url, retry=RetryPolicy(attempts=3))
    client.servers()
    failures = [response({}, 503), response({}, 500), then_closed(b"")]
    server.plan("/tokenize", *failures * 10)
    samples = [[{"role": "assistant", "content": "x" * length}] for length in range(1, 65)]

    results = client.score_many(samples, on_error="return")

    for sample, result in zip(samples, results, strict=True):
        if not isinstance(result, StatusError):
            assert result.value == expected(sample)
        else:
            assert len(result.attempts) >= 2
    assert sum(isinstance(result, StatusError) for result in results) <= 10


async def announced(exchange: Exchange) -> None:
    """Says that the request has arrived, and does not answer it."""
    exchange.server.arrival.set()
    await exchange.until_gone()


def test_cancelling_stops_the_request_and_is_not_retried(server):
    async def main() -> None:
        async with AsyncRewardClient(server.url) as client:
            await client.servers()
            server.plan("/pooling", announced)
            server.forget()
            scoring = asyncio.create_task(client.score(CONVERSATION))
            await asyncio.to_thread(server.arrival.wait)
            scoring.cancel()
            with pytest.raises(asyncio.CancelledError):
                await scoring
            assert await asyncio.to_thread(server.left.wait, 10)
            assert len(server.seen("/pooling")) == 1
            assert (await client.score(CONVERSATION)).value == expected()

    asyncio.run(main())


def test_closing_ends_a_call_that_is_under_way(server):
    async def main() -> None:
        client = AsyncRewardClient(server.url)
        await client.servers()
        server.plan("/pooling", announced)
        scoring = asyncio.create_task(client.score(CONVERSATION))
        await asyncio.to_thread(server.arrival.wait)
        await client.aclose()
        with pytest.raises(Exception, match="was closed during"):
            await scoring

    asyncio.run(main())


def test_a_refused_connection_is_tried_again(connect):
    with RawServer(answer) as server:
        client = connect(server.url)
        client.servers()
        server.stop()
        with pytest.raises(ServerUnreachableError) as caught:
            client.score(CONVERSATION)

    met = {"connection refused", "connection reset before the response"}
    assert set(caught.value.attempts) <= met
