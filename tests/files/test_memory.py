"""Memory and order do not depend on how many rows there are."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reward_client import RewardClient
from reward_client._base import reservoir
from reward_client._rows import grouping as scoring
from reward_client._rows.scored import ScoredRow
from reward_client._transport import ledger
from reward_client.files import score_file
from reward_client.files.outputs import input_columns
from reward_client.files.tally import Tally

from ..support.fake_vllm import FakeVllm
from .conftest import read_rows, write_rows

FEW, MANY = 600, 2400


def _good(position: int) -> dict[str, Any]:
    return {"id": position, "token_ids": [100 + position, 7]}


def _bad(position: int) -> dict[str, Any]:
    return {"id": position, "text": ""}


def _one_good(position: int) -> dict[str, Any]:
    return _bad(position) if position else _good(position)


@pytest.mark.parametrize(
    ("row", "suffix"),
    [(_good, ".out"), (_one_good, ".out"), (_good, ".parquet"), (_good, ".csv"), (_good, ".json")],
)
def test_memory_is_flat(
    client: RewardClient,
    fake: FakeVllm,
    tmp_path: Path,
    row: Callable[[int], Any],
    suffix: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("WARNING", "reward_client")  # pytest keeps every record
    monkeypatch.setattr(scoring, "_MAX_WAITING", 100)
    monkeypatch.setattr(reservoir, "SIZE", 100)
    monkeypatch.setattr(ledger, "_SIZE", 100)
    monkeypatch.setattr(input_columns, "_BATCH_ROWS", 100)
    monkeypatch.setattr(fake, "requests", Forgetful())
    write_rows(tmp_path / "few", map(row, range(FEW)))
    write_rows(tmp_path / "many", map(row, range(MANY)))
    score_file(client, tmp_path / "few", tmp_path / f"warm{suffix}")

    def peaks(name: str, attempt: int) -> list[int]:
        """Most memory of a first run, of one that keeps its rows, and of one that retries."""
        out = tmp_path / f"{name}{attempt}{suffix}"
        measured = []
        for retry_failed in (False, False, True):
            tracemalloc.start()
            score_file(client, tmp_path / name, out, retry_failed=retry_failed)
            measured.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        return measured

    few = peaks("few", 0)
    # Other threads of the process count too, such as servers of earlier tests. What this run holds
    # it holds in each attempt.
    many = peaks("many", 0)
    for attempt in (1, 2):
        if not _is_flat(few, many):
            many = list(map(min, many, peaks("many", attempt)))
    assert _is_flat(few, many), (few, many)


def _is_flat(few: list[int], many: list[int]) -> bool:
    """Four times the rows, and no more than a few freed objects' difference."""
    return all(more < 1.25 * less + 50_000 for less, more in zip(few, many, strict=True))


class Forgetful(list[Any]):
    def append(self, _: Any) -> None:
        """Nothing."""


def test_order_where_little_is_scored(
    client: RewardClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However samples and rows without any lie, each result stands where its row does."""
    monkeypatch.setattr(scoring, "_MAX_WAITING", 3)
    rng = random.Random(3)
    for share in (0.02, 0.3, 0.5, 0.9):
        rows = [(_good if rng.random() < share else _bad)(position) for position in range(200)]
        out = tmp_path / f"{share}.jsonl"
        score_file(client, write_rows(tmp_path / "in.jsonl", rows), out)
        written = read_rows(out)
        assert [row["id"] for row in written] == list(range(200))
        assert [("error" not in row) for row in written] == ["token_ids" in row for row in rows]


def test_quantiles(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()
    values = [*range(101)]
    random.Random(1).shuffle(values)
    for value in values:
        tally.add(ScoredRow({"reward": value, "token_count": 3}), is_kept=False)
    summary = tally.summary(2.0)
    assert summary.rewards == {
        "min": 0,
        "5%": 5,
        "25%": 25,
        "50%": 50,
        "75%": 75,
        "95%": 95,
        "max": 100,
    }
    assert (summary.conversations, summary.tokens) == (101, 303)


def test_quantiles_of_many_are_those_of_a_sample() -> None:
    tally = Tally()
    for value in range(200_000):
        tally.add(ScoredRow({"reward": [value]}), is_kept=True)
    rewards = tally.summary(1.0).rewards
    assert (rewards["min"], rewards["max"]) == (0, 199_999)
    for name, share in [("5%", 0.05), ("25%", 0.25), ("50%", 0.5), ("75%", 0.75), ("95%", 0.95)]:
        # 50,000 of them: a standard error of rank of at most 0.0023; this is four of it.
        assert rewards[name] == pytest.approx(share * 200_000, abs=0.009 * 200_000)


def test_failures_by_kind_and_rewards_of_every_layout() -> None:
    tally = Tally()
    a, b = {"type": "A", "message": ""}, {"type": "B", "message": ""}
    for result in (
        {"error": a},
        {"error": b},
        {"error": [None, b, a], "reward": [5.0, None, None], "token_count": [2, None, None]},
        {"error": {"chosen": None, "rejected": a}, "reward": {"chosen": -1.0, "rejected": None}},
        {"reward": None, "objectives": {"x": 99.0}, "token_count": 4},
    ):
        tally.add(ScoredRow(result), is_kept=False)
    summary = tally.summary(1.0)
    assert summary.failures == {"A": 2, "B": 2}
    assert (summary.rewards["min"], summary.rewards["max"]) == (-1.0, 5.0)
    assert (summary.rows, summary.failed, summary.tokens) == (5, 4, 6)
    assert json.dumps(dict(summary.failures))
