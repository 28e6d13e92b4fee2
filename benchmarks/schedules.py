"""How far judges of two agree with a full round robin if they compare fewer pairs.

A stand-in in memory judges: the first of two answers wins with the probability of Bradley and
Terry, by strengths from a normal distribution and a liking for the first place. Its verdict on two
answers in one order is the same under every schedule.
"""

from __future__ import annotations

import math
import random
import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.results import Json, Run, Settings, findings, table
from reward_client import Ranking, RewardClient
from reward_client.methods import Verdict
from tests.support.scribe import Scribe

SIZES = (4, 8, 16)
GROUPS = 50
SPREAD, BIAS = 2.0, 0.5
"""The standard deviation of the strengths and the liking for the first place, in logits."""

JUDGE = Verdict(
    r"\[\[([AB])\]\]",
    "{conversation} A: {response_a} B: {response_b}.",
    values={"A": 1, "B": -1},
)
_PROMPT = re.compile(r"group (\d+) A: (\d+) B: (\d+)\.")


def run(settings: Settings) -> Json:
    tables = [_of_size(size, settings) for size in SIZES]
    remark = (
        f"The strengths have a standard deviation of {SPREAD:g} logits, and the judge likes the "
        f"first place by {BIAS:g}. Each round has {settings.count(GROUPS)} prompts of each size."
    )
    return findings(*tables, remarks=[textwrap.fill(remark, 120)])


def _of_size(size: int, settings: Settings) -> Json:
    verdicts = {name: replace(JUDGE, schedule=schedule) for name, schedule in _schedules(size)}
    runs: dict[str, list[Run]] = {name: [] for name in verdicts}
    for number in range(settings.rounds):
        full: list[Ranking] = []
        for name, verdict in verdicts.items():
            ranked = _ranked(verdict, size, settings.count(GROUPS), number)
            full = full or ranked
            runs[name].append(_agreement(full, ranked) | {"texts": verdict.calls(size)})
    return table(f"{size} responses", runs, compared=False)


def _schedules(size: int) -> list[tuple[str, str | int]]:
    most = size * (size - 1) // 2
    numbers = (number for number in (2 * size, 3 * size) if number < most)
    return [
        ('"all"', "all"),
        *((f"{number} pairs", number) for number in numbers),
        ('"circular"', "circular"),
        (f"{size - 1} pairs", size - 1),
        ('"knockout"', "knockout"),
    ]


def _ranked(verdict: Verdict, size: int, groups: int, seed: int) -> list[Ranking]:
    draw = random.Random(seed)
    strengths = [[draw.gauss(0, SPREAD) for _ in range(size)] for _ in range(groups)]

    def writes(prompt: str, _: int) -> str:
        group, first, second = map(int, _PROMPT.findall(prompt)[0])
        difference = strengths[group][first] - strengths[group][second] + BIAS
        chance = random.Random(f"{seed} {group} {first} {second}").random()
        return f"[[{'A' if chance < 1 / (1 + math.exp(-difference)) else 'B'}]]"

    transport = Scribe(writes).transport()
    with RewardClient("http://judge", transport=transport, method=verdict) as client:
        prompts = [f"group {group}" for group in range(groups)]
        return client.rank_many(prompts, [[*map(str, range(size))]] * groups)


def _agreement(full: Sequence[Ranking], ranked: Sequence[Ranking]) -> dict[str, float]:
    pairs = [*zip(full, ranked, strict=True)]
    return {
        "tau": sum(_tau(_values(one), _values(other)) for one, other in pairs) / len(pairs),
        "same_best": sum(one.best_index == other.best_index for one, other in pairs) / len(pairs),
    }


def _values(ranking: Ranking) -> list[float]:
    return [reward.value for reward in ranking.rewards if reward is not None]


def _tau(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's tau-b, which takes account of ties (Biometrika 33, 1945, p. 239)."""
    concordance = ties_of_one = ties_of_other = 0
    pairs = [(a, b) for b in range(len(one)) for a in range(b)]
    for a, b in pairs:
        mine, others = _sign(one[a] - one[b]), _sign(other[a] - other[b])
        concordance += mine * others
        ties_of_one += not mine
        ties_of_other += not others
    untied = (len(pairs) - ties_of_one) * (len(pairs) - ties_of_other)
    return concordance / math.sqrt(untied) if untied else 0.0


def _sign(difference: float) -> int:
    """Return the sign, without the rounding of rewards that are equal."""
    return 0 if abs(difference) < 1e-9 else 1 if difference > 0 else -1
