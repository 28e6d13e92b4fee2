"""The rate of several replicas beside that of one, on servers with a fixed time for each batch.

A server accepts any number of batches at a time. So its rate is the number of the client's
concurrent batches divided by the delay, unless the client or the machine is the bottleneck.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks.null_server import value
from benchmarks.overhead import servers
from benchmarks.process import call
from benchmarks.results import Json, Run, Settings, compete, findings, goal, ratios, table
from benchmarks.timing import check

COUNTS = (1, 2, 4)
DELAY_MS = 500.0
SECONDS = 10.0
TOKENS = 64
_CONCURRENT_BATCHES = 8
_BATCH_SIZE = 32


def measure(urls: list[str], number: int) -> Run:
    """Time a client of these servers; runs in a process of its own."""
    from reward_client import AsyncRewardClient

    samples = [[index % 30_000, *range(TOKENS - 2), index // 30_000] for index in range(number)]

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
    rounds_of_batches = max(1, round(SECONDS * 1000 / DELAY_MS * settings.scale))
    samples_each = rounds_of_batches * _CONCURRENT_BATCHES * _BATCH_SIZE
    with servers(max(COUNTS), DELAY_MS) as urls:

        def measured(name: str) -> Run:
            count = names[name]
            return call(measure, urls=urls[:count], number=count * samples_each)

        runs = compete(tuple(names), settings.rounds, measured)
    one, _, four = names
    return findings(
        table(f"{DELAY_MS:g} ms for each batch, samples of {TOKENS} tokens", runs, compared=False),
        goals=[goal("four servers ÷ one", ratios(runs, four, one), at_least=3.6)],
    )
