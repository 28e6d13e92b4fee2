"""Two hundred callers at once: shared requests, and a reward server that is killed meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from reward_client import RewardClient
from reward_client.testing import Fault, RewardServer

from ..replicas.restarting import free_port, serve
from ..support.running_gateway import RunningGateway
from .test_service import figures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CALLERS = 200


def ids(number: int) -> list[int]:
    """Return token IDs that no other number has: equal samples would be scored once."""
    return [3 + number % 53, 3 + number // 53 % 53, 3 + number // 53**2 % 53, 7]


async def ask_all(
    url: str, callers: Sequence[Sequence[int]], answered: Callable[[], None] = lambda: None
) -> dict[int, float]:
    """Ask for the rewards of numbers, one after the other for each of the callers."""
    rewards: dict[int, float] = {}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector) as session:

        async def call(numbers: Sequence[int]) -> None:
            for number in numbers:
                body = {"input": ids(number), "use_activation": False}
                async with session.post("/classify", json=body) as answer:
                    assert answer.status == 200, await answer.text()
                    content = await answer.json()
                assert number not in rewards
                (item,) = content["data"]
                (rewards[number],) = item["probs"]
                answered()

        await asyncio.gather(*(call(numbers) for numbers in callers))
    return rewards


def direct(url: str, numbers: int) -> dict[int, float]:
    with RewardClient(url) as client:
        rewards = client.score_many([ids(number) for number in range(numbers)])
    return {number: float(reward) for number, reward in enumerate(rewards)}


def test_callers_share_requests() -> None:
    with RewardServer() as server, RunningGateway(server.url) as gateway:
        asyncio.run(ask_all(gateway.url, [[10_000]]))  # the server is known from here on
        before = len(server.requests)
        server.inject(Fault.delay(2), path="/pooling", times=2)
        rewards = asyncio.run(ask_all(gateway.url, [[number] for number in range(CALLERS)]))
        batches = [
            len(request.json["input"])
            for request in server.requests[before:]
            if request.path == "/pooling"
        ]
        assert sum(batches) == CALLERS
        # Of at most 32 samples each; the first ones are small, since the server was idle.
        assert len(batches) <= 40
        assert rewards == direct(server.url, CALLERS)


def test_a_server_that_is_killed_loses_and_doubles_nothing() -> None:
    each = 4
    ports = free_port(), free_port()
    servers = [serve(port) for port in ports]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    seen = 0

    def answered() -> None:
        nonlocal seen
        seen += 1
        if seen == CALLERS:
            servers[0].kill()

    try:
        with RunningGateway(*urls) as gateway:
            gateway.http.post("/classify", json={"input": ids(0), "use_activation": False})
            numbers = [range(start, start + each) for start in range(0, CALLERS * each, each)]
            rewards = asyncio.run(ask_all(gateway.url, numbers, answered))
            counted = figures(gateway)
        assert servers[0].wait() < 0
        assert rewards == direct(urls[1], CALLERS * each)
        assert counted["samples_total", "classify"] == CALLERS * each + 1
        assert counted["requests_total", "classify", "200"] == CALLERS * each + 1
        assert not [key for key in counted if key[0] == "failures_total"]
        assert all(counted["server_requests_total", url] > 0 for url in urls)
    finally:
        for server in servers:
            server.kill()
            server.wait()
