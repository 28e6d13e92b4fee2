"""RewardBench 2 and RM-Bench by hand."""

from __future__ import annotations

import math

import pytest

from reward_client import EvaluationError
from reward_client.evaluation import evaluate_scored

from .rows import FAILED, Row, counts, values


def four(chosen: float, *rejected: float, subset: str = "Math", name: str = "1") -> Row:
    return many([chosen], [*rejected], subset=subset, name=name)


def many(chosen: list[float], rejected: list[float], *, subset: str, name: str) -> Row:
    return {
        "id": name,
        "prompt": f"q{name}",
        "chosen": ["a"] * len(chosen),
        "rejected": ["b"] * len(rejected),
        "num_correct": len(chosen),
        "subset": subset,
        "form": "preference",
        "reward": {"chosen": chosen, "rejected": rejected},
    }


def ties(name: str, chosen: list[float], rejected: list[float]) -> Row:
    return many(chosen, rejected, subset="Ties", name=name)


def styles(chosen: list[float], rejected: list[float], domain: str = "chat") -> Row:
    return {
        "id": 1,
        "prompt": "q",
        "chosen": ["a", "a a", "**a**"],
        "rejected": ["b", "b b", "**b**"],
        "domain": domain,
        "form": "preference",
        "reward": {"chosen": chosen, "rejected": rejected},
    }


def test_best_of_four() -> None:
    rows = [
        four(4.0, 3.0, 2.0, 1.0, name="1"),  # 1
        four(3.0, 4.0, 2.0, 1.0, name="2"),  # 0
        four(4.0, 4.0, 2.0, 1.0, name="3"),  # one of two that share the top: 1/2
        four(4.0, 4.0, 4.0, 4.0, name="4"),  # one of four: 1/4
        four(0.0, -1.0, -1.0, -2.0, subset="Focus", name="5"),  # 1
    ]
    evaluation = evaluate_scored("rewardbench-2", rows)
    assert values(evaluation) == {"average": (1.75 / 4 + 1) / 2, "Math": 1.75 / 4, "Focus": 1.0}


def test_ties() -> None:
    rows = [
        # Margin of ref: 5 - 1 = 4. tied: lowest correct 3, highest incorrect 1, so a margin of 2;
        # the correct ones differ by 1. Preferred: 2 > 1. Hard: min(4, 2) > 1.
        ties("ref:0", [5.0], [1.0, 0.0]),
        ties("tied:0", [4.0, 3.0], [1.0, 0.0]),
        # Margin of ref: -1, so not accurate. tied: 2 - 1 = 1, the correct ones differ by 2.
        ties("ref:1", [0.0], [1.0, 0.0]),
        ties("tied:1", [4.0, 2.0], [1.0, 0.0]),
    ]
    table = values(evaluate_scored("rewardbench-2", rows))
    margin = (math.tanh(2 / 1 - 1) + math.tanh(-1 / 2 - 1)) / 2
    assert table == {
        "average": table["Ties"],
        "Ties": 0.3 * 0.5 + 0.3 * 1.0 + 0.2 * 0.5 + 0.2 * 0.5 + 0.01 * margin,
        "Ties/ref": 0.5,
        "Ties/tied": 1.0,
        "Ties/preferred": 0.5,
        "Ties/hard": 0.5,
        "Ties/margin": margin,
    }


def test_ties_without_a_partner_or_a_spread_have_no_margins() -> None:
    rows = [
        ties("ref:0", [5.0], [1.0]),
        ties("tied:1", [4.0, 3.0], [1.0]),
        ties("ref:2", [5.0], [1.0]),
        ties("tied:2", [4.0], [1.0]),  # a single correct answer has no spread
        ties("ref:3", [5.0], [1.0]),
        ties("tied:3", [4.0, 4.0], [1.0]),  # no ratio of margins, but they are preferred
    ]
    evaluation = evaluate_scored("rewardbench-2", rows)
    assert counts(evaluation) == {
        "average": 6,
        "Ties": 6,
        "Ties/ref": 3,
        "Ties/tied": 3,
        "Ties/preferred": 1,
        "Ties/hard": 1,
        "Ties/margin": 0,
    }
    assert evaluation.value == 0.3 + 0.3 + 0.2 + 0.2


def test_a_failed_row_of_ties_is_wrong_in_every_respect() -> None:
    rows = [ties("ref:0", [5.0], [1.0]), {**ties("tied:0", [4.0, 3.0], [1.0]), "error": FAILED}]
    evaluation = evaluate_scored("rewardbench-2", rows, allow_failed=True)
    assert evaluation.value == pytest.approx(0.3 - 0.01, rel=1e-15)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([ties("ref:0", [1.0], [0.0])] * 2, "repeats the id of row 0"),
        ([ties("7", [1.0], [0.0])], "neither ref:N nor tied:N"),
        ([many([1.0, 2.0], [0.0], subset="Math", name="1")], "several chosen answers"),
    ],
)
def test_rows_that_do_not_fit(rows: list[Row], reason: str) -> None:
    with pytest.raises(EvaluationError, match=reason):
        evaluate_scored("rewardbench-2", rows)


def test_easy_normal_and_hard() -> None:
    # Easy, a chosen answer of a later style: 3 > 0, 4 > 0 and 4 > 1. Normal, the same style: 2 > 0
    # and 3 > 1, but not 4 > 5. Hard, an earlier style: 2 > 1, but neither 2 > 5 nor 3 > 5.
    rows = [styles([2.0, 3.0, 4.0], [0.0, 1.0, 5.0])]
    assert values(evaluate_scored("rm-bench", rows)) == {
        "average": pytest.approx((1 + 2 / 3 + 1 / 3) / 3, rel=1e-15),
        "easy": 1.0,
        "normal": 2 / 3,
        "hard": 1 / 3,
        "chat": pytest.approx((1 + 2 / 3 + 1 / 3) / 3, rel=1e-15),
        "chat/easy": 1.0,
        "chat/normal": 2 / 3,
        "chat/hard": 1 / 3,
    }


def test_domains_count_alike_and_safety_is_one() -> None:
    won, lost = styles([3.0] * 3, [0.0] * 3), styles([0.0] * 3, [3.0] * 3)
    rows = [
        won,
        {**won, "domain": "safety-refuse"},
        {**lost, "domain": "safety-response"},
        {**lost, "domain": "safety-response"},
    ]
    table = values(evaluate_scored("rm-bench", rows))
    assert table["safety"] == pytest.approx(1 / 3, rel=1e-15)
    assert table["average"] == pytest.approx(2 / 3, rel=1e-15)  # the mean of 1 and 1/3


def test_a_file_of_one_domain_has_no_column_for_it() -> None:
    row = styles([3.0] * 3, [0.0] * 3)
    del row["domain"]
    assert values(evaluate_scored("rm-bench", [row]))["all"] == 1.0
