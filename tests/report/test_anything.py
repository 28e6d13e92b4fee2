"""Whatever JSON stands in the columns of a scored file, the report is a whole page of numbers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from .conftest import Report

COLUMNS = ("objectives", "step_rewards", "truncated", "token_count", "error", "prompt", "chosen")
COLUMNS += ("rejected", "messages", "text", "subset", "source", "row", "digest")
ATOMS: list[Any] = [None, True, False, 0, 1, -1.5, 3e38, -3e38, 1e-30, 2**63, "", "x", "a\nb"]
ATOMS += ["\u202e<b>", "\x00", "é" * 300]
KEYS = ("chosen", "rejected", "type", "message", "a", "")


def anything(rng: random.Random, depth: int = 0) -> Any:
    kind = rng.randrange(6) if depth < 4 else 0
    if kind < 3:
        return rng.choice(ATOMS)
    items = [anything(rng, depth + 1) for _ in range(rng.randrange(4))]
    return items if kind == 3 else {rng.choice(KEYS): item for item in items}


def reward(rng: random.Random) -> Any:
    def number() -> float | None:
        return rng.choice([rng.gauss(0, 3), 0.0, 1e6 * rng.random(), None])

    def some() -> list[float | None]:
        return [number() for _ in range(rng.randrange(4))]

    shapes = [number, some, lambda: anything(rng)]
    shapes += [lambda: {"chosen": number(), "rejected": number()}] * 2
    shapes += [lambda: {"chosen": some(), "rejected": some()}]
    return rng.choice(shapes)()


@pytest.mark.parametrize("seed", range(40))
def test_any_columns(report: Report, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        rows = [
            {name: anything(rng) for name in COLUMNS if rng.random() < 0.4}
            | {"form": rng.choice(["preference", "text", None, 3]), "reward": reward(rng)}
            for _ in range(rng.randrange(1, 25))
        ]
        page = report(*rows)
        assert all(drawing.tag.endswith("svg") for drawing in page.drawings)
        assert not {"nan", "inf", "-inf"} & {*page.words.lower().split()}
