"""Clients of equal options in one process: what they share, and what each has for itself."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any

import httpx
import pytest

from reward_client import (
    AsyncRewardClient,
    Connection,
    Limits,
    RetryPolicy,
    RewardClient,
    RewardClientError,
    Timeouts,
)
from reward_client._client import core as core_module
from reward_client.methods import CritiqueThenScore, Verdict, YesNo
from reward_client.testing import Fault, RewardServer
from reward_client.tokenizing import LocalTokenizer

from ..support.fake_vllm import FakeVllm

SUM = [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]
URL = "http://localhost:1"
Client = RewardClient | AsyncRewardClient
Kind = type[RewardClient] | type[AsyncRewardClient]


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


@pytest.fixture(params=[RewardClient, AsyncRewardClient])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param  # type: ignore[no-any-return]


def score(client: Client) -> float:
    if isinstance(client, RewardClient):
        return client.score(SUM).value
    return asyncio.run(client.score(SUM)).value


def close(client: Client) -> None:
    if isinstance(client, RewardClient):
        client.close()
    else:
        asyncio.run(client.aclose())


def discoveries(server: RewardServer, since: int) -> int:
    return sum(request.path == "/openapi.json" for request in server.requests[since:])


def client_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "reward_client"]


@pytest.mark.parametrize("kept", [True, False])
def test_a_hundred_unpickled_clients_cost_one_discovery(
    server: RewardServer, kind: Kind, kept: bool
) -> None:
    pickled = pickle.dumps(kind(server.url))
    since = len(server.requests)
    clients, values = [], set()
    for _ in range(100):
        client = pickle.loads(pickled)
        values.add(score(client))
        if kept:
            clients.append(client)
        del client
        assert len(client_threads()) <= 1
    assert len(values) == 1
    assert discoveries(server, since) == 1
    for each in clients:
        close(each)
    assert client_threads() == [] or not kept


def differing() -> dict[str, dict[str, Any]]:
    critique = {"critic": "http://localhost:2", "continues": False}
    return {
        "url": {"base_url": "http://localhost:2"},
        "key": {"api_key": "another"},
        "headers": {"headers": {"x-tenant": "b"}},
        "model": {"model": "judge"},
        "method": {"method": YesNo()},
        "critic's key": {"method": CritiqueThenScore(critic_key="b", **critique)},
        "judge": {"method": Verdict(prompt="{response}", pattern="a (.*)")},
        "bos": {"bos": False},
        "retry": {"retry": 2},
        "limits": {"limits": Limits(max_concurrency=3)},
        "timeout": {"timeout": 3.0},
        "connection": {"connection": Connection(trust_env=False)},
        "recipe": {"recipe": None},
        "tokenizer": {"tokenizer": LocalTokenizer("a")},
    }


@pytest.mark.parametrize("option", differing())
def test_options_that_make_clients_unlike(kind: Kind, option: str) -> None:
    options = differing()
    one, other = kind(URL), kind(**{"base_url": URL, **options[option]})
    assert one._session.core is not other._session.core
    again = kind(**{"base_url": URL, **differing()[option]})
    assert again._session.core is other._session.core


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"retry": 3}, {"retry": RetryPolicy(attempts=3)}),
        ({"timeout": 30}, {"timeout": Timeouts(total=30)}),
        ({"base_url": URL}, {"base_url": [URL + "/v1/"]}),
        ({"api_key": "k"}, {"headers": {"authorization": "Bearer k"}}),
    ],
)
def test_other_words_for_the_same(kind: Kind, one: dict[str, Any], other: dict[str, Any]) -> None:
    clients = kind(**{"base_url": URL, **one}), kind(**{"base_url": URL, **other})
    assert clients[0]._session.core is clients[1]._session.core


def test_the_two_kinds_have_their_own() -> None:
    blocking, awaited = RewardClient(URL), AsyncRewardClient(URL)
    assert blocking._session.core is not awaited._session.core


def test_another_proxy_in_the_environment(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    one = kind("http://far.example")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    other = kind("http://far.example")
    assert one._session.core is not other._session.core
    deaf = [kind("http://far.example", connection=Connection(trust_env=False)) for _ in range(2)]
    assert deaf[0]._session.core is deaf[1]._session.core


def test_what_the_caller_brings_is_not_shared(kind: Kind) -> None:
    openai = pytest.importorskip("openai")
    transport: httpx.AsyncBaseTransport = FakeVllm().transport()
    brought = [kind("http://a", transport=transport) for _ in range(2)]
    assert brought[0]._session.core is not brought[1]._session.core
    carrier = openai.AsyncOpenAI(base_url=URL, api_key="k")
    carried = [kind.from_openai(carrier) for _ in range(2)]
    assert carried[0]._session.core is not carried[1]._session.core


def test_a_closed_client_stays_closed_while_its_equal_works(
    server: RewardServer, kind: Kind
) -> None:
    one, other = kind(server.url), kind(server.url)
    since = len(server.requests)
    assert score(one) == score(other)
    close(one)
    close(one)
    with pytest.raises(RewardClientError, match="closed"):
        score(one)
    assert score(other)
    assert discoveries(server, since) == 1
    close(other)
    assert client_threads() == []
    with pytest.raises(RewardClientError, match="closed"):
        score(other)
    last = kind(server.url)
    assert score(last)
    assert discoveries(server, since) == 2  # the last one that closes forgets the servers
    close(last)


def held(server: RewardServer, since: int) -> None:
    while sum(request.path == "/pooling" for request in server.requests[since:]) < 1:
        time.sleep(0.01)


def test_closing_ends_only_the_calls_of_the_client() -> None:
    with RewardServer() as server, ThreadPoolExecutor(2) as pool:
        one, other = RewardClient(server.url), RewardClient(server.url)
        one.servers()
        server.inject(Fault.delay(2), path="/pooling", times=2)
        since = len(server.requests)
        ended = pool.submit(one.score_many, [SUM], on_error="return")
        kept = pool.submit(other.score, [*SUM[:1], {"role": "assistant", "content": "5"}])
        held(server, since)
        one.close()
        (outcome,) = ended.result(1)  # what was scored before would stand beside it
        assert isinstance(outcome, RewardClientError)
        assert "closed during" in str(outcome)
        assert kept.result(30)
        other.close()


def test_closing_ends_only_the_calls_of_the_async_client() -> None:
    async def main(server: RewardServer) -> None:
        one, other = AsyncRewardClient(server.url), AsyncRewardClient(server.url)
        await one.servers()
        server.inject(Fault.delay(2), path="/pooling", times=2)
        since = len(server.requests)
        ended = asyncio.create_task(one.score(SUM))
        streamed = one.stream([SUM])
        first = asyncio.create_task(anext(streamed))
        kept = asyncio.create_task(other.score(SUM))
        await asyncio.to_thread(held, server, since)
        await one.aclose()
        with pytest.raises(RewardClientError, match="closed during"):
            await asyncio.wait_for(ended, 1)
        assert isinstance((await asyncio.wait_for(first, 1)).error, RewardClientError)
        assert await asyncio.wait_for(kept, 30)
        await streamed.aclose()
        await other.aclose()

    with RewardServer() as server:
        asyncio.run(main(server))


def test_a_stream_outlives_the_name_of_its_client(server: RewardServer) -> None:
    stream = RewardClient(server.url).stream([SUM] * 3)
    gc.collect()
    assert len([result.reward for result in stream]) == 3

    async def main() -> int:
        stream = AsyncRewardClient(server.url).stream([SUM] * 3)
        gc.collect()
        return len([result async for result in stream])

    assert asyncio.run(main()) == 3


def test_equal_clients_at_work_at_the_same_time(server: RewardServer, kind: Kind) -> None:
    since = len(server.requests)
    if kind is RewardClient:
        blocking = [RewardClient(server.url) for _ in range(8)]
        with ThreadPoolExecutor(8) as pool:
            values = list(pool.map(score, blocking))
        assert len(client_threads()) == 1
    else:

        async def main() -> list[float]:
            clients = [AsyncRewardClient(server.url) for _ in range(8)]
            rewards = await asyncio.gather(*(client.score(SUM) for client in clients))
            return [reward.value for reward in rewards]

        values = asyncio.run(main())
    assert (len(values), len(set(values))) == (8, 1)
    assert discoveries(server, since) == 1


def test_a_forgotten_core_ends_after_a_while(
    server: RewardServer, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_module, "LINGER_SECONDS", 2)
    client = kind(server.url)
    score(client)
    del client
    gc.collect()
    assert [core for *_, core in core_module._shared if core.config.urls == (server.url,)]
    time.sleep(2.5)
    for thread in client_threads():
        thread.join(5)
    assert client_threads() == []
    kind(URL)  # the next client clears up
    assert not [core for *_, core in core_module._shared if core.config.urls == (server.url,)]


def test_forgotten_in_an_event_loop_that_goes_on(
    server: RewardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_module, "LINGER_SECONDS", 0.1)

    async def main() -> None:
        client = AsyncRewardClient(server.url)
        await client.score(SUM)
        core = client._session.core
        assert len(core._links) == 1
        del client
        gc.collect()
        await asyncio.sleep(0.2)
        AsyncRewardClient(URL)
        await asyncio.sleep(0.1)
        assert core._links == {}

    asyncio.run(main())


def test_threads_that_make_and_forget_clients(server: RewardServer, kind: Kind) -> None:
    def work(_: int) -> float:
        return score(kind(server.url))

    since = len(server.requests)
    with ThreadPoolExecutor(8) as pool:
        values = set(pool.map(work, range(80)))
    assert len(values) == 1
    # Event loops that run at the same time do not wait for each other's knowledge.
    assert discoveries(server, since) <= (1 if kind is RewardClient else 8)


def in_the_pool(client: Client) -> tuple[int, float]:
    return os.getpid(), score(client)


def test_a_pool_of_processes(server: RewardServer, kind: Kind) -> None:
    client = kind(server.url)
    value = score(client)
    since = len(server.requests)
    with get_context("fork").Pool(2) as pool:
        results = pool.map(in_the_pool, [client] * 60, chunksize=1)
    assert {result for _, result in results} == {value}
    assert discoveries(server, since) <= len({pid for pid, _ in results})
    since = len(server.requests)
    assert score(client) == value
    assert discoveries(server, since) == 0
    close(client)


def test_keys_are_in_no_repr(kind: Kind) -> None:
    client = kind(URL, api_key="sk-secret", headers={"x-tenant": "sk-tenant"})
    shown = repr([client, client._session, client._session.core, core_module._shared])
    assert "sk-" not in shown
