"""The gateway under many callers at once, beside `score_many` without it."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.baselines import Target
from benchmarks.competitors import client
from benchmarks.null_server import MODEL, value
from benchmarks.overhead import samples, servers
from benchmarks.process import call
from benchmarks.results import Json, Run, Settings, compete, findings, goal, ratios, table
from benchmarks.timing import check

CALLERS = 200
SAMPLES = 100_000
FEWER = 20_000
"""For callers that send one request for each sample."""
TOKENS = 128
_BATCH = 32
_WARM_UP = 64
_DIRECT = "score_many, without a gateway"
_ONE, _MANY = "gateway, 1 sample a request", f"gateway, {_BATCH} samples a request"
_COMMAND = "import sys; from reward_client.cli import main; sys.exit(main())"
_TICKS = os.sysconf("SC_CLK_TCK")


def measure_direct(url: str, count: int) -> Run:
    """Time `score_many`; runs in a process of its own."""
    lists = list(samples(count, TOKENS))
    with client(Target(url, MODEL)) as scorer:
        list(scorer.score_many(list(samples(_WARM_UP, TOKENS))))
        started, cpu = time.perf_counter(), time.process_time()
        found = [reward.value for reward in scorer.score_many(lists)]
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    check(found, list(map(value, lists)), 0)
    return {"per_second": count / seconds, "cpu_us": cpu / count * 1e6}


def measure_gateway(url: str, count: int, size: int) -> Run:
    """Time many callers of a gateway; they run in a process of their own."""
    lists = list(samples(count, TOKENS))
    bodies = [
        json.dumps({"input": lists[start : start + size], "use_activation": False}).encode()
        for start in range(0, count, size)
    ]
    with gateway(url) as (address, process):
        asyncio.run(_ask(address, bodies[:_WARM_UP]))
        started, cpu = time.perf_counter(), _cpu_of(process)
        answers = asyncio.run(_ask(address, bodies))
        seconds, cpu = time.perf_counter() - started, _cpu_of(process) - cpu
    check([each for found, _ in answers for each in found], list(map(value, lists)), 0)
    waited = sorted(each for _, each in answers)
    cuts = statistics.quantiles(waited, n=100)
    return {
        "per_second": count / seconds,
        "cpu_us": cpu / count * 1e6,
        "median_ms": cuts[49] * 1000,
        "p99_ms": cuts[98] * 1000,
    }


async def _ask(url: str, bodies: Sequence[bytes]) -> list[tuple[list[float], float]]:
    """Post bodies by all callers, each one after the other; return rewards and seconds."""
    import aiohttp

    answers: list[tuple[list[float], float]] = [([], 0.0)] * len(bodies)
    waiting = iter(enumerate(bodies))
    headers = {"content-type": "application/json"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(url, connector=connector, headers=headers) as session:

        async def calls() -> None:
            for index, body in waiting:
                started = time.perf_counter()
                async with session.post("/classify", data=body) as answer:
                    content = await answer.json()
                seconds = time.perf_counter() - started
                answers[index] = [item["probs"][0] for item in content["data"]], seconds

        await asyncio.gather(*(calls() for _ in range(CALLERS)))
    return answers


@contextmanager
def gateway(url: str) -> Iterator[tuple[str, int]]:
    """Run a gateway in a process of its own; yield its URL and the number of the process."""
    command = [sys.executable, "-c", _COMMAND, "gateway", "--url", url, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            ports = [each["port"] for each in _until_ready(process.stderr) if "port" in each]
            # A line for each request is part of the work; somebody has to read it.
            with subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL):
                yield f"http://127.0.0.1:{ports[0]}", process.pid
                process.kill()
        finally:
            process.kill()


def _until_ready(lines: Iterator[str]) -> Iterator[dict[str, object]]:
    for line in lines:
        event = json.loads(line)
        yield event
        if event["event"] == "ready":
            return


def _cpu_of(process: int) -> float:
    """Return the seconds of CPU time that a process has used (Linux)."""
    stat = Path("/proc", str(process), "stat").read_text("ascii")
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def run(settings: Settings) -> Json:
    many, few = settings.count(SAMPLES), settings.count(FEWER)
    with servers() as (url,):

        def measured(name: str) -> Run:
            if name == _DIRECT:
                return call(measure_direct, url=url, count=many)
            size = 1 if name == _ONE else _BATCH
            return call(measure_gateway, url=url, count=few if size == 1 else many, size=size)

        runs = compete((_DIRECT, _ONE, _MANY), settings.rounds, measured)
    title = f"{CALLERS} callers at once, samples of {TOKENS} token IDs"
    note = (
        f"{many:,} samples, and {few:,} of one a request. Callers, gateway and the server that "
        "answers at once share the machine. The CPU is the gateway's, without that of its callers."
    )
    return findings(
        table(title, runs, note),
        goals=[
            goal(f"samples/s: {name} ÷ {_DIRECT}", ratios(runs, name, _DIRECT))
            for name in (_ONE, _MANY)
        ],
    )
