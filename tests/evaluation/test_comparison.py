"""Two models on the same rows: pairing, the bootstrap, and what cannot be compared."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from reward_client import EvaluationError, InputError
from reward_client.evaluation import Evaluation, compare, evaluate_scored

from .rows import failed_pair, pair
from .synthetic import Draws, Row, files, rewardbench_2, rm_bench
from .test_choices import choice
from .test_steps import process, solution


def outcomes(won: list[bool]) -> Evaluation:
    rows = [pair(float(each), 0.5, id=number) for number, each in enumerate(won)]
    return evaluate_scored("rewardbench", rows)


def disturbed(rows: list[Row]) -> list[Row]:
    """The same rows, with the rewards of a worse model."""
    draws = Draws(7)

    def other(value: Any) -> Any:
        if isinstance(value, list):
            return [other(each) for each in value]
        return value + draws.reward()

    return [
        {**row, "reward": {side: other(value) for side, value in row["reward"].items()}}
        for row in rows
    ]


def test_the_interval_is_that_of_the_paired_differences() -> None:
    # Of 400 pairs, A alone wins 60, and B alone 40: the mean difference is 0.05. The standard
    # deviation of a mean of 400 is sqrt(0.25 - 0.05²) / 20 = 0.0249.
    a = [True] * 60 + [False] * 40 + [True] * 200 + [False] * 100
    b = [False] * 60 + [True] * 40 + [True] * 200 + [False] * 100
    comparison = compare(outcomes(a), outcomes(b), resamples=4_000)
    assert comparison.difference == pytest.approx(0.05, rel=1e-12)
    low, high = comparison.measures[0].interval
    spread = math.sqrt(0.25 - 0.05**2) / 20
    # A percentile of 4,000 draws has a standard error of about 0.04 spreads.
    assert low == pytest.approx(0.05 - 1.96 * spread, abs=0.15 * spread)
    assert high == pytest.approx(0.05 + 1.96 * spread, abs=0.15 * spread)
    # The mean is 2.01 spreads above 0: 2.2 % of a normal distribution, and 0 itself.
    assert 0.01 < comparison.measures[0].other_sign < 0.04


def test_pairing_removes_the_noise_that_both_models_share() -> None:
    a = [number % 2 == 0 for number in range(400)]
    b = [*a]
    b[0] = False
    comparison = compare(outcomes(a), outcomes(b))
    low, high = comparison.measures[0].interval
    assert (low, comparison.difference) == (0.0, pytest.approx(1 / 400, rel=1e-9))
    assert high <= 4 / 400


def test_equal_models() -> None:
    comparison = compare(outcomes([True, False]), outcomes([True, False]))
    assert comparison.difference == 0
    assert comparison.measures[0].interval == (0.0, 0.0)
    assert comparison.measures[0].other_sign == 1.0


def test_the_other_order_has_the_other_sign() -> None:
    a, b = outcomes([True] * 30 + [False] * 20), outcomes([False] * 25 + [True] * 25)
    there, back = compare(a, b), compare(b, a)
    assert there.difference == -back.difference
    assert there.measures[0].interval == tuple(-x for x in reversed(back.measures[0].interval))
    assert there.measures[0].other_sign == back.measures[0].other_sign


def test_a_seed_gives_the_same_numbers() -> None:
    a, b = outcomes([True] * 30 + [False] * 20), outcomes([False] * 25 + [True] * 25)
    assert compare(a, b, seed=1) == compare(a, b, seed=1)
    assert compare(a, b, seed=1).measures != compare(a, b, seed=2).measures


def test_every_number_of_the_table_is_compared() -> None:
    for name, rows in files():
        benchmark = name.removesuffix("-prior")
        a, b = evaluate_scored(benchmark, rows), evaluate_scored(benchmark, disturbed(rows))
        comparison = compare(a, b, resamples=100)
        assert [each.path for each in comparison.measures] == [each.path for each in a.measures]
        assert [each.a for each in comparison.measures] == [each.value for each in a.measures]
        assert [each.b for each in comparison.measures] == [each.value for each in b.measures]
        assert comparison.difference > 0, name


@pytest.mark.parametrize(
    ("name", "rows", "others"),
    [
        ("best-of-n", [choice([1, 0], [True, False])] * 4, [choice([0, 1], [True, False])] * 4),
        (
            "processbench",
            [solution(0, [0.1]), solution(-1, [0.9])] * 3,
            [solution(0, [0.9]), solution(-1, [0.9])] * 3,
        ),
        ("prmbench", [process([1], [0.1, 0.9])], [process([1], [0.9, 0.9])]),
        ("rewardbench-2", rewardbench_2(20, 4), disturbed(rewardbench_2(20, 4))),
        ("rm-bench", rm_bench(20), disturbed(rm_bench(20))),
    ],
)
def test_no_resample_lacks_a_number(name: str, rows: list[Row], others: list[Row]) -> None:
    a, b = evaluate_scored(name, rows), evaluate_scored(name, others)
    text = compare(a, b, resamples=200).to_json()
    parsed = json.loads(text, parse_constant=pytest.fail)
    assert len(parsed["measures"]) == len(a.measures)
    assert parsed["a"]["value"] == a.value


def test_prompts_are_drawn_as_a_whole() -> None:
    # The nine comparisons of a prompt stand and fall together: 16 prompts, of which A wins 8.
    rows = rm_bench(16)
    for number, row in enumerate(rows):
        row["domain"] = "chat"
        row["reward"] = {"chosen": [float(number % 2)] * 3, "rejected": [0.5] * 3}
    lost = [{**row, "reward": {"chosen": [0.0] * 3, "rejected": [0.5] * 3}} for row in rows]
    comparison = compare(evaluate_scored("rm-bench", rows), evaluate_scored("rm-bench", lost))
    low, high = comparison.measures[0].interval
    # A binomial share of 16: 0.5 ± 0.25. Of 144 independent comparisons, it would be ± 0.08.
    assert (low, high) == pytest.approx((0.25, 0.75), abs=1e-9)


def test_other_rows_are_refused() -> None:
    a, b = outcomes([True, False]), outcomes([True, False, True])
    with pytest.raises(EvaluationError, match="the rows are not the same"):
        compare(a, b)
    c = evaluate_scored("rewardbench", [pair(1.0, 0.5, id=1), pair(1.0, 0.5, id=0)])
    with pytest.raises(EvaluationError, match="in another order"):
        compare(a, c)
    with pytest.raises(EvaluationError, match="RewardBench with RM-Bench"):
        compare(a, evaluate_scored("rm-bench", rm_bench(2)))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"resamples": 99}, "at least 100"),
        ({"resamples": 1e3}, "integer"),
        ({"seed": "1"}, "seed="),
    ],
)
def test_options(options: dict[str, Any], reason: str) -> None:
    a = outcomes([True])
    with pytest.raises(InputError, match=reason):
        compare(a, a, **options)
    with pytest.raises(InputError, match="two Evaluations, not None"):
        compare(a, None)  # type: ignore[arg-type]


def test_the_table_says_which_rows_failed_for_whom() -> None:
    a = evaluate_scored("rewardbench", [pair(1.0, 0.5), pair(1.0, 0.5, id=1)])
    b = evaluate_scored("rewardbench", [pair(1.0, 0.5), failed_pair(id=1)], allow_failed=True)
    text = str(compare(a, b))
    assert "B: a model that the rows do not name, failed rows, which count as wrong: 1" in text
    assert re.search(r"^average +100\.00 +50\.00 +\+50\.00 ", text, re.MULTILINE)
