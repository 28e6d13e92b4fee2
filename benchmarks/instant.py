"""What a client costs: the same token IDs against a server that answers at once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.contestants import (
    BASETEN,
    ONE_BY_ONE,
    OPENAI,
    OURS,
    OURS_EACH,
    PACKED,
    TOKEN_IDS,
)
from benchmarks.figures import Json, Run, Runs, Settings, column, compete, demand, findings, ratios
from benchmarks.figures import table as table_of
from benchmarks.instant_server import MODEL, value
from benchmarks.measuring import timed
from benchmarks.process import call
from benchmarks.ways import Target

TOKENS = 512
SAMPLES = 20_000
FEWER = 2_000
"""For those that send one request for each sample."""
_WARM_UP = 64
_TOLERANCE = 1e-9  # Rust reads 14.400000000000006 as 14.4


@contextmanager
def servers(number: int = 1, delay_ms: float = 0.0) -> Iterator[list[str]]:
    """The URLs of as many instant servers, each a process."""
    script = Path(__file__).with_name("instant_server.py")
    command = [sys.executable, os.fspath(script), "0", str(delay_ms)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    try:
        yield [process.stdout.readline().strip() for process in running if process.stdout]
    finally:
        for process in running:
            process.kill()
            process.communicate()


def samples(count: int, tokens: int = TOKENS) -> Iterator[list[int]]:
    """Token IDs, no two lists of them equal."""
    rng = random.Random(8967)
    bases = [[rng.randrange(1000, 100_000) for _ in range(tokens)] for _ in range(400)]
    for index in range(count):
        yield [index, *bases[index % len(bases)][1:]]


def measure(name: str, url: str, count: int) -> Run:
    """For a process of its own."""
    lists = list(samples(count))
    values = list(map(value, lists))
    way = TOKEN_IDS[name]
    return timed(way, Target(url, MODEL), lists[:_WARM_UP], lists, values, _TOLERANCE)


def run(settings: Settings) -> Json:
    many, few = settings.count(SAMPLES), settings.count(FEWER)
    with servers() as (url,):

        def measured(name: str) -> Run:
            return call(measure, name=name, url=url, count=many if name in PACKED else few)

        runs = compete(tuple(TOKEN_IDS), settings.rounds, measured)
    packed: Runs = {name: runs[name] for name in PACKED}
    single: Runs = {name: runs[name] for name in ONE_BY_ONE}
    return findings(
        table_of(f"Packs of 32: {many:,} samples of {TOKENS} tokens", packed),
        table_of(f"One request for each sample: {few:,} samples of {TOKENS} tokens", single),
        demands=[
            demand(
                "packs: score_many ÷ Baseten's client", ratios(runs, OURS, BASETEN), at_least=1.2
            ),
            demand(
                "packs: CPU of score_many, µs a sample", column(runs, OURS, "cpu_us"), at_most=35
            ),
            demand(
                "one by one: score_many ÷ AsyncOpenAI", ratios(runs, OURS_EACH, OPENAI), at_least=2
            ),
        ],
    )
