"""Event loops that come and go: what a client keeps over them, and how quietly it ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import reward_client
from reward_client import AsyncRewardClient, RetryPolicy, TransportError
from reward_client._replicas import monitor as monitor_module
from reward_client.methods import Messages
from reward_client.testing import RewardServer

from ..support.fake_vllm import CHAT, FakeVllm, TextVllm, transport_to

PACKAGES = Path(reward_client.__file__).parents[1]
SUM = [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def paths(server: RewardServer) -> list[str]:
    return [request.path for request in server.requests]


def test_a_hundred_event_loops_find_the_server_out_once(server: RewardServer) -> None:
    client = AsyncRewardClient(server.url)
    before = len(server.requests)
    first = asyncio.run(client.score(SUM))
    assert "/version" in paths(server)[before:]
    before = len(server.requests)
    rewards = [asyncio.run(client.score(SUM)) for _ in range(99)]
    assert paths(server)[before:] == ["/tokenize", "/pooling"] * 99
    assert {reward.value for reward in rewards} == {first.value}
    before = len(server.requests)
    asyncio.run(client.servers())
    asyncio.run(client.settings())
    assert len(server.requests) == before


def test_a_hundred_messages_are_spot_checked_as_in_one_loop() -> None:
    server = TextVllm()

    def client() -> AsyncRewardClient:
        return AsyncRewardClient("http://a", transport=server.transport(), method=Messages())

    async def all_in_one(client: AsyncRewardClient) -> None:
        for _ in range(40):
            await client.score(CHAT)

    asyncio.run(all_in_one(client()))
    together = len(server.requests)
    server.requests.clear()
    scorer = client()
    for _ in range(40):
        asyncio.run(scorer.score(CHAT))
    assert len(server.requests) == together


def test_a_replica_that_is_left_out_stays_left_out() -> None:
    servers = {"a": FakeVllm(), "b": FakeVllm()}
    client = AsyncRewardClient(
        ["http://a", "http://b"], transport=transport_to(servers), retry=RetryPolicy(attempts=1)
    )
    assert len(asyncio.run(client.servers())) == 2
    servers["b"].before = refused

    async def score_some() -> None:
        for length in range(40):
            await client.score([1, 10, length])

    asyncio.run(score_some())
    for each in servers.values():
        each.requests.clear()
    for _ in range(10):
        (profile,) = asyncio.run(client.servers())
        assert profile.url == "http://a"
    assert not any(each.requests for each in servers.values())


def test_another_server_after_a_pause_between_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor_module, "RESTART_SECONDS", 0.1)
    server = FakeVllm()
    client = AsyncRewardClient("http://a", transport=server.transport())
    first = asyncio.run(client.score(CHAT))
    server.version = "0.31.2"
    time.sleep(0.2)
    second = asyncio.run(client.score(CHAT))
    versions = first.provenance.server_version, second.provenance.server_version
    assert versions == ("0.32.0", "0.31.2")


def test_a_loss_at_the_end_of_a_loop_counts_in_the_next_one() -> None:
    server = FakeVllm()
    client = AsyncRewardClient("http://a", transport=server.transport(), retry=1)
    asyncio.run(client.score(CHAT))

    server.before = refused
    with pytest.raises(TransportError):
        asyncio.run(client.score(CHAT))
    server.before = lambda request: None
    server.version = "0.31.2"
    reward = asyncio.run(client.score(CHAT))
    assert reward.provenance.server_version == "0.31.2"


def test_connections_close_before_their_loop(server: RewardServer) -> None:
    client = AsyncRewardClient(server.url)

    async def main() -> None:
        await client.score(SUM)
        assert client._session.core._links

    asyncio.run(main())
    assert not client._session.core._links


ENDS = {
    "asyncio.run": "for _ in range(3): asyncio.run(client.score(SUM))",
    "forgotten afterwards": "asyncio.run(client.score(SUM)); del client; gc.collect()",
    "loop.close()": """
        for _ in range(3):
            loop = asyncio.new_event_loop()
            loop.run_until_complete(client.score(SUM))
            loop.close()
        """,
    "a loop that nobody closes": """
        loop = asyncio.new_event_loop()
        loop.run_until_complete(client.score(SUM))
        atexit.register(loop.close)  # the loop itself would complain
        """,
    "forgotten inside": """
        async def main():
            global client
            await client.score(SUM)
            del client
            gc.collect()
            await asyncio.sleep(0.1)
        asyncio.run(main())
        """,
    "in a cycle of garbage": """
        class Box: pass
        async def main():
            box = Box()
            box.itself, box.client = box, AsyncRewardClient(URL, retry=2)
            await box.client.score(SUM)
            del box
            gc.collect()
            await asyncio.sleep(0.1)
        asyncio.run(main())
        """,
    "a child that was forked": """
        asyncio.run(client.score(SUM))
        if os.fork() == 0:
            asyncio.run(client.score(SUM))
            sys.exit(0)
        assert os.wait()[1] == 0
        asyncio.run(client.score(SUM))
        """,
    "a child of a loop that runs": """
        async def main():
            await client.score(SUM)
            if os.fork() == 0:
                sys.exit(0)
            assert os.wait()[1] == 0
            await client.score(SUM)
        asyncio.run(main())
        """,
}


@pytest.mark.parametrize("end", ENDS)
def test_an_unclosed_client_is_quiet(server: RewardServer, end: str) -> None:
    script = f"""
import asyncio, atexit, gc, os, sys, warnings
from reward_client import AsyncRewardClient
URL, SUM = {server.url!r}, {SUM!r}
client = AsyncRewardClient(URL)
{textwrap.dedent(ENDS[end])}
gc.collect()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=PACKAGES,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
