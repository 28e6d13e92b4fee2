"""How much more several replicas score than one: servers that take a fixed time for each pack.

Each takes any number of packs at a time. So the rate of one is the packs that the client keeps
under way there, divided by the delay, as long as neither the client nor the machine is the
bottleneck.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks.figures import Json, Run, Settings, compete, demand, findings, ratios, table
from benchmarks.instant import servers
from benchmarks.instant_server import value
from benchmarks.measuring import check
from benchmarks.process import call

COUNTS = (1, 2, 4)
DELAY_MS = 500.0
SECONDS = 10.0
TOKENS = 64
_PACKS = 8
_ITEMS = 32


def measure(urls: list[str], number: int) -> Run:
    """For a process of its own."""
    from reward_client import AsyncRewardClient

    samples = [[place % 30_000, *range(TOKENS - 2), place // 30_000] for place in range(number)]

    async def main() -> Run:
        async with AsyncRewardClient(urls) as client:
            await client.servers()
            started, cpu = time.perf_counter(), time.process_time()
            rewards = await client.score_many(samples)
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            check([reward.value for reward in rewards], list(map(value, samples)), 0.0)
            return {"per_second": number / seconds, "cpu_share": cpu / seconds}

    return asyncio.run(main())


def run(settings: Settings) -> Json:
    names = {f"{count} server{'s' * (count > 1)}": count for count in COUNTS}
    packs_each = max(1, round(SECONDS * 1000 / DELAY_MS * settings.scale)) * _PACKS
    with servers(max(COUNTS), DELAY_MS) as urls:

        def measured(name: str) -> Run:
            count = names[name]
            return call(measure, urls=urls[:count], number=count * packs_each * _ITEMS)

        runs = compete(tuple(names), settings.rounds, measured)
    one, _, four = names
    return findings(
        table(f"{DELAY_MS:g} ms for each pack, samples of {TOKENS} tokens", runs, compared=False),
        demands=[demand("four servers ÷ one", ratios(runs, four, one), at_least=3.6)],
    )
