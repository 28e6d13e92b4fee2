"""The costs of long runs beside those of short ones: memory, and CPU for each sample."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from benchmarks.baselines import Target
from benchmarks.competitors import client
from benchmarks.null_server import MODEL, value
from benchmarks.overhead import samples, servers
from benchmarks.process import call, peak
from benchmarks.results import Json, Run, Settings, compete, findings, goal, ratios, table

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
_STREAM, _MANY = "stream", "score_many"


def measure(method: str, url: str, count: int) -> Run:
    """Time one method of the client over samples made one by one; runs in a process of its own."""
    with client(Target(url, MODEL)) as scorer:
        list(scorer.score_many(samples(64)))
        started, cpu = time.perf_counter(), time.process_time()
        if method == _STREAM:
            with scorer.stream(samples(count)) as results:
                found = _digest(result.reward.value for result in results if result.reward)
        else:
            found = _digest(reward.value for reward in scorer.score_many(samples(count)))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    assert found == _digest(map(value, samples(count)))
    return {
        "cpu_us": cpu / count * 1e6,
        "per_second": count / seconds,
        "peak_mib": peak(),
    }


def _digest(values: Iterable[float]) -> int:
    """Digest values in their order, as a list of them would take too much memory."""
    digest = 0
    for number in values:
        digest = (digest * 31 + round(number * 10)) % 2**61
    return digest


def run(settings: Settings) -> Json:
    counts = [settings.count(count) for count in COUNTS]
    cells = {
        f"{method}, {count:,} samples": (method, count)
        for method in (_STREAM, _MANY)
        for count in counts
    }
    with servers() as (url,):

        def measured(name: str) -> Run:
            method, count = cells[name]
            return call(measure, method=method, url=url, count=count)

        runs = compete(tuple(cells), settings.rounds, measured)

    def grown(method: str, key: str, more: int, fewer: int) -> Sequence[float]:
        return ratios(runs, f"{method}, {more:,} samples", f"{method}, {fewer:,} samples", key)

    _, ten_thousand, hundred_thousand, million = counts
    return findings(
        table(
            "Samples of 512 tokens, made one by one; score_many keeps the rewards",
            runs,
            compared=False,
        ),
        goals=[
            goal(
                f"peak memory of stream, {million:,} ÷ {hundred_thousand:,} samples",
                grown(_STREAM, "peak_mib", million, hundred_thousand),
                at_most=1.1,
            ),
            *(
                goal(
                    f"CPU a sample of {method}, {million:,} ÷ {ten_thousand:,} samples",
                    grown(method, "cpu_us", million, ten_thousand),
                    at_least=0.9,
                    at_most=1.1,
                )
                for method in (_STREAM, _MANY)
            ),
        ],
    )
