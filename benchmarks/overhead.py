"""The overhead of each client: the same token IDs against a server that answers at once."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.baselines import BATCH_SIZE, Target
from benchmarks.competitors import (
    BASETEN,
    BATCHED,
    BY_HAND,
    OF_THE_PACKAGE,
    OPENAI,
    OURS,
    OURS_SINGLE,
    TOKEN_IDS,
)
from benchmarks.null_server import MODEL, value
from benchmarks.process import call
from benchmarks.results import Json, Run, Runs, Settings, column, compete, findings, goal, ratios
from benchmarks.results import table as table_of
from benchmarks.timing import timed

TOKENS = 512
SAMPLES = 20_000
FEWER = 2_000
"""For competitors that send one request for each sample."""
_WARM_UP = 64
_TOLERANCE = 1e-9  # Baseten's client reads 14.400000000000006 as 14.4
_MAX_CPU_RATIO = 2.5
_MIN_BASETEN_RATIO = 1.3
_MAX_GROWTH = 1.05


class _Entry(NamedTuple):
    """A row of a table: a competitor, and the checkout of reward_client that it imports."""

    competitor: str
    package: str | None = None


@contextmanager
def servers(number: int = 1, delay_ms: float = 0.0, engine: str = "vllm") -> Iterator[list[str]]:
    """Run null servers, each in its own process, and yield their URLs."""
    script = Path(__file__).with_name("null_server.py")
    command = [sys.executable, os.fspath(script), "0", str(delay_ms), engine]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    try:
        yield [process.stdout.readline().strip() for process in running if process.stdout]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def samples(count: int, tokens: int = TOKENS) -> Iterator[list[int]]:
    """Make lists of token IDs, no two of them equal."""
    rng = random.Random(8967)
    bases = [[rng.randrange(1000, 100_000) for _ in range(tokens)] for _ in range(400)]
    for index in range(count):
        yield [index, *bases[index % len(bases)][1:]]


def measure(name: str, url: str, count: int) -> Run:
    """Time one competitor; runs in a process of its own."""
    lists = list(samples(count))
    values = list(map(value, lists))
    competitor = TOKEN_IDS[name]
    return timed(competitor, Target(url, MODEL), lists[:_WARM_UP], lists, values, _TOLERANCE)


def run(settings: Settings) -> Json:
    many, few = settings.count(SAMPLES), settings.count(FEWER)
    entries = {name: _Entry(name) for name in TOKEN_IDS}
    for label, folder in settings.packages.items():
        entries |= {of_checkout(name, label): _Entry(name, folder) for name in OF_THE_PACKAGE}
    with servers() as (url,):

        def measured(row: str) -> Run:
            name, package = entries[row]
            count = many if name in BATCHED else few
            return call(measure, package=package, name=name, url=url, count=count)

        runs = compete(tuple(entries), settings.rounds, measured)
    batched = {row: runs[row] for row, entry in entries.items() if entry.competitor in BATCHED}
    single = {row: runs[row] for row in entries if row not in batched}
    return findings(
        table_of(f"Batches of {BATCH_SIZE}: {many:,} samples of {TOKENS} tokens", batched),
        table_of(f"One request for each sample: {few:,} samples of {TOKENS} tokens", single),
        goals=[*_of_batches(runs), *_of_single(runs), *_of_checkouts(runs, settings)],
    )


def of_checkout(name: str, label: str) -> str:
    """Return the row of a competitor that imports another checkout of reward_client."""
    return f"{name} ({label})"


def _of_batches(runs: Runs) -> list[Json]:
    best = best_of(runs, BASETEN)
    return [
        goal(
            f"CPU a sample: {OURS} ÷ {BY_HAND}",
            ratios(runs, OURS, BY_HAND, "cpu_us"),
            at_most=_MAX_CPU_RATIO,
        ),
        goal(
            f"samples/s: {OURS} ÷ {best or 'Baseten, not measured'}",
            ratios(runs, OURS, best) if best else [],
            at_least=_MIN_BASETEN_RATIO,
        ),
    ]


def best_of(runs: Runs, names: Iterable[str]) -> str | None:
    """Return the quickest of these competitors by its median over the rounds."""
    measured = [name for name in names if column(runs, name)]
    return max(measured, key=lambda name: statistics.median(column(runs, name)), default=None)


def _of_single(runs: Runs) -> list[Json]:
    return [
        goal(f"samples/s: {OURS_SINGLE} ÷ {OPENAI}", ratios(runs, OURS_SINGLE, OPENAI), at_least=2)
    ]


def _of_checkouts(runs: Runs, settings: Settings) -> list[Json]:
    """Compare this package with the other checkouts, and those with the hand-written loop."""
    goals: list[Json] = []
    for label in settings.packages:
        theirs = of_checkout(OURS, label)
        goals += [
            goal(
                f"CPU a sample: {OURS} ÷ the same ({label})",
                ratios(runs, OURS, theirs, "cpu_us"),
                at_most=_MAX_GROWTH,
            ),
            goal(f"samples/s: {OURS} ÷ the same ({label})", ratios(runs, OURS, theirs)),
            goal(f"CPU a sample: {theirs} ÷ {BY_HAND}", ratios(runs, theirs, BY_HAND, "cpu_us")),
        ]
    return goals
