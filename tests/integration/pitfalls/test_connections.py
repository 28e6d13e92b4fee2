"""Connections that are gone, engines that have died, and what was scored before.

What a connection can do instead of a reply is in `tests/integration/faults`, on real sockets.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from itertools import count

import httpx
import pytest
from tenacity import AsyncRetrying

from reward_client import (
    BatchError,
    EngineDeadError,
    Limits,
    RetryPolicy,
    Reward,
    ServerUnreachableError,
)

from ...support.either import OPENERS
from ...support.fake_vllm import CHAT_TOKENS, FakeVllm
from ...support.raw_server import CONVERSATION, RawServer, answer, expected
from .conftest import QUICK, Connect

RIGHT = len(CHAT_TOKENS) - 5.5
PROBES = 4
"""Requests for the probes: all, all in another order, an odd number of them, one alone."""
DEAD = {
    "error": {
        "message": "EngineCore encountered an issue. See stack trace (above) for the root cause.",
        "type": "Internal Server Error",
        "param": None,
        "code": 500,
    }
}
# More than the client waits on an idle connection, and less than vLLM.
IDLE_SECONDS = 4.5


def test_19_idle_connections_close_before_the_servers_timeout() -> None:
    """Both clients in one test, since both must wait."""
    with RawServer(answer) as server:
        clients = [
            OPENERS[kind](server.url, retry=RetryPolicy(attempts=1)) for kind in ("sync", "async")
        ]
        for client in clients:
            client.score(CONVERSATION)
            used = server.connections
            client.score(CONVERSATION)
            assert server.connections == used
        time.sleep(IDLE_SECONDS)
        for client in clients:
            used = server.connections
            assert client.score(CONVERSATION).value == expected()
            assert server.connections > used
            client.close()


def dying(after: int) -> FakeVllm:
    """A server whose engine dies after some replies of `/pooling`, those to probes included."""
    scored = count()

    def before(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/pooling" and next(scored) >= after:
            return httpx.Response(500, json=DEAD)
        return None

    return FakeVllm(before=before)


def different(number: int) -> list[list[int]]:
    """Samples that get the same reward, and are scored each: equal ones would be scored once."""
    return [[*CHAT_TOKENS[:-1], 1000 + place] for place in range(number)]


def test_26_what_was_scored_before_the_engine_died_is_kept(connect: Connect) -> None:
    server = dying(after=PROBES + 20)
    one_by_one = Limits(max_concurrency=4, max_batch_items=1)
    outcomes = connect(server, limits=one_by_one).score_many(different(50), on_error="return")
    rewards = [outcome for outcome in outcomes if isinstance(outcome, Reward)]
    assert [reward.value for reward in rewards] == [RIGHT] * 20
    assert {type(outcome) for outcome in outcomes if outcome not in rewards} == {EngineDeadError}
    # No sample is sent to a third engine after two have died under it.
    sent = Counter(str(ids) for body in server.asked("/pooling") for ids in body["input"])
    assert max(sent[str(sample)] for sample in different(50)) == 2


def test_26_the_batch_ends_at_the_first_death(connect: Connect) -> None:
    server = dying(after=PROBES + 20)
    one_by_one = Limits(max_concurrency=4, max_batch_items=1)
    with pytest.raises(BatchError) as caught:
        connect(server, limits=one_by_one).score_many(different(1000))
    assert isinstance(caught.value.__cause__, EngineDeadError)
    assert [result.reward.value for result in caught.value.results if result.reward] == [RIGHT] * 20
    assert len(server.requests) < 150


def test_26_a_server_that_is_gone_fails_fast(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call waits through its attempts, and no further one."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    patched = partial(AsyncRetrying, sleep=sleep)
    monkeypatch.setattr("reward_client._transport.retry.AsyncRetrying", patched)
    with RawServer(answer) as server:
        client = connect(server)
        assert client.score(CONVERSATION).value == expected()
    with pytest.raises(ServerUnreachableError):
        client.score(CONVERSATION)
    assert len(waits) == QUICK.attempts - 1
    outcomes = client.score_many([CONVERSATION] * 200, on_error="return")
    assert {type(outcome) for outcome in outcomes} == {ServerUnreachableError}
    assert len(waits) == QUICK.attempts - 1
