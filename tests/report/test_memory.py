"""The memory of a report does not depend on how many rows there are, nor on their order."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from reward_client._base import reservoir
from reward_client.files import groups
from reward_client.report import write_report

from .conftest import pair, write_scored

FEW, MANY = 2500, 7500


def rows(count: int, *, is_sorted: bool) -> list[dict[str, Any]]:
    rng = random.Random(4)
    margins = [rng.gauss(0, 3) for _ in range(count)]
    return [
        pair(
            margin,
            0.0,
            subset=f"s{n}",
            chosen=f"{n} " + "word " * 100,
            rejected="x",
            token_count={"chosen": rng.randrange(9, 99), "rejected": 20},
        )
        for n, margin in enumerate(sorted(margins, reverse=True) if is_sorted else margins)
    ]


@pytest.mark.parametrize("is_sorted", [False, True])
def test_memory_is_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_sorted: bool
) -> None:
    monkeypatch.setattr(reservoir, "SIZE", 200)
    monkeypatch.setattr(groups, "_MAX_GROUPS", 60)
    peaks = {}
    write_report(write_scored(tmp_path / "in", rows(50, is_sorted=False)), tmp_path / "warm.html")
    for count in (FEW, MANY):
        scored = write_scored(tmp_path / f"{count}.jsonl", rows(count, is_sorted=is_sorted))
        tracemalloc.start()
        write_report(scored, tmp_path / f"{count}.html", by="subset")
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    # Three times the rows, and no more than a few freed objects' difference.
    assert peaks[MANY] < 1.25 * peaks[FEW] + 50_000, peaks
