"""Whether a long run costs more than a short one: memory, and CPU for each sample."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from benchmarks.contestants import client
from benchmarks.figures import Json, Run, Settings, compete, demand, findings, ratios, table
from benchmarks.instant import samples, servers
from benchmarks.instant_server import MODEL, value
from benchmarks.process import call, peak
from benchmarks.ways import Target

COUNTS = (1_000, 10_000, 100_000, 1_000_000)
_STREAM, _MANY = "stream", "score_many"


def measure(kind: str, url: str, count: int) -> Run:
    """For a process of its own; the samples are made one by one."""
    with client(Target(url, MODEL)) as scorer:
        list(scorer.score_many(samples(64)))
        started, cpu = time.perf_counter(), time.process_time()
        if kind == _STREAM:
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
    """Of the values in their order, which are too many to keep."""
    digest = 0
    for number in values:
        digest = (digest * 31 + round(number * 10)) % 2**61
    return digest


def run(settings: Settings) -> Json:
    counts = [settings.count(count) for count in COUNTS]
    cells = {
        f"{kind}, {count:,} samples": (kind, count) for kind in (_STREAM, _MANY) for count in counts
    }
    with servers() as (url,):

        def measured(name: str) -> Run:
            kind, count = cells[name]
            return call(measure, kind=kind, url=url, count=count)

        runs = compete(tuple(cells), settings.rounds, measured)

    def grown(kind: str, key: str, more: int, fewer: int) -> Sequence[float]:
        return ratios(runs, f"{kind}, {more:,} samples", f"{kind}, {fewer:,} samples", key)

    _, ten_thousand, hundred_thousand, million = counts
    return findings(
        table(
            "Samples of 512 tokens, made one by one; score_many keeps the rewards",
            runs,
            compared=False,
        ),
        demands=[
            demand(
                f"peak memory of stream, {million:,} ÷ {hundred_thousand:,} samples",
                grown(_STREAM, "peak_mib", million, hundred_thousand),
                at_most=1.1,
            ),
            *(
                demand(
                    f"CPU a sample of {kind}, {million:,} ÷ {ten_thousand:,} samples",
                    grown(kind, "cpu_us", million, ten_thousand),
                    at_least=0.9,
                    at_most=1.1,
                )
                for kind in (_STREAM, _MANY)
            ),
        ],
    )
