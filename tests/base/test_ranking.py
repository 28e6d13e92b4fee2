"""Rankings, the advantages of their groups, and outcomes as plain numbers."""

from __future__ import annotations

import copy
import json
import math
import pickle
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client import (
    BatchError,
    FailedComparison,
    GenerationError,
    InputError,
    PromptTooLongError,
    Provenance,
    Ranking,
    Reward,
    ScoreResult,
    ServerError,
    values,
)
from reward_client._base.ranking import ranking

PROVENANCE = Provenance(
    model="m",
    server_version="0.32.0",
    route="pooling",
    activation="none",
    activation_known_by="request",
    head="scalar",
    tokenizer="server",
    client_version="0",
)
TOO_LONG = PromptTooLongError("5000 tokens")


def reward(value: float | None, **more: Any) -> Reward:
    facts: dict[str, Any] = {"token_count": 1, "token_digest": "d", "bos_count": 0}
    return Reward(value=value, provenance=PROVENANCE, **facts, **more)


def ranked(*numbers: float | None) -> Ranking:
    """Rank responses "0", "1", …; None stands for one that failed."""
    outcomes = [TOO_LONG if number is None else reward(number) for number in numbers]
    return ranking([str(index) for index in range(len(numbers))], outcomes)


def test_best_worst_and_margin() -> None:
    one = ranked(0.5, -1.0, 2.25)
    assert (one.best, one.best_index, one.worst, one.order) == ("2", 2, "1", (2, 0, 1))
    assert one.margin == 1.75
    assert one.errors == (None, None, None)


def test_a_response_that_failed_has_no_place() -> None:
    one = ranked(0.5, None, 2.25)
    assert (one.best, one.worst, one.order) == ("2", "0", (2, 0))
    assert one.rewards[1] is None
    assert one.errors == (None, TOO_LONG, None)
    assert one.margin == 1.75
    assert "rewards=(0.5, None, 2.25)" in repr(one)


def test_ties_keep_their_order() -> None:
    one = ranked(1.0, 1.0, 1.0)
    assert (one.best, one.worst, one.margin) == ("0", "2", 0.0)


def test_a_single_response() -> None:
    one = ranked(3.0)
    assert (one.best, one.worst, one.margin) == ("0", "0", None)
    assert one.advantages() == one.advantages(scale="none") == [0.0]
    assert ranked(3.0, None).margin is None
    assert ranked(3.0, None).advantages() == [0.0, None]


def test_nothing_has_a_reward() -> None:
    one = ranked(None, None)
    assert (one.order, one.margin, one.advantages()) == ((), None, [None, None])
    for read in (lambda: one.best, lambda: one.best_index, lambda: one.worst):
        with pytest.raises(BatchError, match=r"none of 2 has a reward.*5000 tokens") as caught:
            read()
        assert isinstance(caught.value.__cause__, PromptTooLongError)
        assert caught.value.fault == "sample"
    assert one.model_dump()["best"] is None
    assert repr(one) == "Ranking(order=(), rewards=(None, None))"


def test_advantages_by_hand() -> None:
    # Mean 2, variance ((-1)² + 0² + 1²) / (3 - 1) = 1.
    assert ranked(1.0, 2.0, 3.0).advantages() == [-1 / 1.0001, 0.0, 1 / 1.0001]
    assert ranked(1.0, 2.0, 3.0).advantages(scale="none") == [-1.0, 0.0, 1.0]
    # Mean 3, variance (9 + 1 + 1 + 9) / 3 = 20 / 3.
    deviation = math.sqrt(20 / 3) + 1e-4
    first, failed, *others = ranked(0.0, None, 4.0, 2.0, 6.0).advantages()
    assert failed is None
    expected = [-3 / deviation, 1 / deviation, -1 / deviation, 3 / deviation]
    assert [first, *others] == pytest.approx(expected, rel=1e-15)


def test_equal_rewards_have_no_advantage() -> None:
    """0.1 + 0.1 + 0.1 is not 3 · 0.1 in floating point: the difference must not be scaled up."""
    for number in (0.1, 1 / 3, 1e300, -7.3, 0.0, 5e-324):
        for count in range(1, 12):
            assert ranked(*[number] * count).advantages() == [0.0] * count


@given(st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=16))
def test_any_group_has_finite_advantages(numbers: list[float | None]) -> None:
    given_ones = [number for number in numbers if number is not None]
    for scale in ("std", "none"):
        advantages = ranked(*numbers).advantages(scale=scale)  # type: ignore[arg-type]
        assert [each is None for each in advantages] == [number is None for number in numbers]
        found = [each for each in advantages if each is not None]
        assert all(map(math.isfinite, found))
        if len(set(given_ones)) > 1:
            mean = statistics.fmean(given_ones)
            wanted = [number - mean for number in given_ones]
            if scale == "std":
                deviation = statistics.stdev(given_ones) + 1e-4
                wanted = [each / deviation for each in wanted]
                assert max(map(abs, found)) <= math.sqrt(len(found))
            # Centring loses as much as the largest reward is rounded by.
            assert found == pytest.approx(wanted, rel=1e-9, abs=1e-4)


def test_a_scale_of_another_name() -> None:
    with pytest.raises(InputError, match="scale= must be 'std' or 'none'"):
        ranked(1.0).advantages(scale="batch")  # type: ignore[arg-type]


def test_several_objectives_have_no_order() -> None:
    with pytest.raises(InputError, match="ObjectiveHead"):
        ranking(["x", "y"], [TOO_LONG, reward(None, objectives={"a": 1.0})])


def test_a_ranking_is_plain_data() -> None:
    failed = FailedComparison(first=0, second=1, error=GenerationError("no verdict", text="hm"))
    one = ranking(["x", "y"], [reward(0.5), TOO_LONG], (), [failed])
    plain = json.loads(one.model_dump_json())
    assert (plain["best"], plain["best_index"], plain["order"]) == ("x", 0, [0])
    assert plain["errors"] == [None, {"type": "PromptTooLongError", "message": "5000 tokens"}]
    assert plain["failed_comparisons"] == [
        {"first": 0, "second": 1, "error": {"type": "GenerationError", "message": "no verdict"}}
    ]
    for twin in (pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert (twin.rewards, twin.order) == (one.rewards, one.order)
        assert str(twin.errors[1]) == "5000 tokens"
    assert hash(one) == hash(copy.copy(one))


def test_values_of_outcomes() -> None:
    results = [ScoreResult(0, reward(1.5), None), ScoreResult(1, None, TOO_LONG)]
    outcomes = [reward(1.5), TOO_LONG]
    for given_ones in (results, outcomes, iter(outcomes), ranked(1.5, None).rewards):
        assert values(given_ones) == [1.5, None]
    assert values(outcomes, failed=-1) == [1.5, -1.0]
    assert type(values(outcomes, failed=-1)[1]) is float
    assert math.isnan(values(results, failed=math.nan)[1])
    assert values([]) == []
    with pytest.raises(PromptTooLongError):
        values(outcomes, failed="raise")
    assert values(outcomes[:1], failed="raise") == [1.5]


def test_values_of_rankings() -> None:
    rankings = [ranked(1.0, None), ranked(2.0, 3.0, 4.0)]
    assert values(rankings) == [[1.0, None], [2.0, 3.0, 4.0]]
    assert values(rankings, failed=0.0) == [[1.0, 0.0], [2.0, 3.0, 4.0]]
    with pytest.raises(PromptTooLongError):
        values(rankings, failed="raise")


@pytest.mark.parametrize("failed", ["nan", "Raise", True, [], 1 + 1j])
def test_a_value_of_failures_that_is_none(failed: Any) -> None:
    with pytest.raises(InputError, match="failed="):
        values([reward(1.0)], failed=failed)


@pytest.mark.parametrize(
    "outcomes", [reward(1.0), ranked(1.0), "x", 5, None, [1.0], [ServerError], [["x"]]]
)
def test_what_has_no_values(outcomes: Any) -> None:
    with pytest.raises(InputError):
        values(outcomes)


def test_a_failure_without_an_error_and_a_reward_without_a_value() -> None:
    with pytest.raises(InputError, match="a sample failed"):
        values([None], failed="raise")
    with pytest.raises(InputError, match="several objectives"):
        values([reward(None, objectives={"a": 1.0})], failed=0.0)
