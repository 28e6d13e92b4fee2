"""Best-of-n and PPE Correctness by hand."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from reward_client import EvaluationError
from reward_client.evaluation import evaluate_scored
from reward_client.evaluation.choices import best_of

from .rows import FAILED, Row, counts, values
from .synthetic import Draws


def choice(rewards: list[float], correct: list[Any]) -> Row:
    responses = [f"r{number}" for number in range(len(correct))]
    row: Row = {"prompt": "q", "responses": responses, "correct": correct}
    return {**row, "form": "responses", "reward": rewards}


def many(rewards: list[float], scores: list[Any], pairs: list[list[int]], **columns: Any) -> Row:
    names = [f"response_{number + 1}" for number in range(len(scores))]
    return {
        "question_id": "1",
        "prompt": "q",
        **dict.fromkeys(names, "r"),
        "scores": scores,
        "sampled_conflict_pairs": pairs,
        **columns,
        "form": "comparison",
        "reward": dict(zip(names, rewards, strict=True)),
    }


def test_best_of_n() -> None:
    rows = [
        choice([0.0, 3.0, 1.0], [False, True, False]),  # right
        choice([0.0, 3.0, 1.0], [True, False, True]),  # wrong
        choice([5.0, 5.0, 1.0, 0.0], [True, False, False, False]),  # one of two equal ones
        choice([1.0, 0.0], [0, 0]),  # none is right
    ]
    evaluation = evaluate_scored("best-of-n", rows)
    assert values(evaluation) == {
        "best of n": (1 + 0 + 1 / 2 + 0) / 4,
        "random": (1 / 3 + 2 / 3 + 1 / 4 + 0) / 4,
        "oracle": 3 / 4,
    }
    assert "prompts with equal rewards for a better and a worse answer: 1" in evaluation.notes


def test_a_failed_prompt_is_wrong_and_its_baselines_stay() -> None:
    row = choice([1.0, 0.0], [True, False])
    rows = [row, {**row, "reward": [1.0, None], "error": [None, FAILED]}]
    assert values(evaluate_scored("best-of-n", rows, allow_failed=True)) == {
        "best of n": 0.5,
        "random": 0.5,
        "oracle": 1.0,
    }


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_the_best_of_k_is_the_mean_over_all_draws(count: int) -> None:
    draws = Draws(4)
    for _ in range(20):
        rewards = [float(draws.below(4)) for _ in range(6)]
        points = [float(draws.below(2)) for _ in range(6)]
        exact = []
        for drawn in combinations(range(6), count):
            top = max(rewards[place] for place in drawn)
            # Ties are broken at random: each of the equal ones may be the one that is taken.
            tied = [points[place] for place in drawn if rewards[place] == top]
            exact.append(sum(tied) / len(tied))
        assert best_of(rewards, points, count) == pytest.approx(sum(exact) / len(exact), rel=1e-12)


def test_ppe_correctness() -> None:
    rows = [
        # Pairs: 0 beats 1 (4 > 3), 2 does not beat 1 (2 < 3), 2 beats 3 (2 > 1).
        many([4.0, 3.0, 2.0, 1.0], [True, False, True, False], [[0, 1], [1, 2], [3, 2]]),
        many([1.0, 2.0, 3.0, 4.0], [True, False, False, False], [[0, 3]]),
    ]
    evaluation = evaluate_scored("ppe-correctness", rows)
    # Best of 2 in the first row: of six draws, the top answer of {0, *} (3) and {2, 3} (1) is
    # right. In the second row none: 0 is the worst.
    assert values(evaluation) == {
        "accuracy": 2 / 4,
        "best of 2": (4 / 6) / 2,
        "best of 4": 1 / 2,
        "random": (2 / 4 + 1 / 4) / 2,
        "oracle": 1.0,
    }
    assert counts(evaluation)["accuracy"] == 4
    assert counts(evaluation)["best of 4"] == 2


def test_domains_of_ppe() -> None:
    rows = [
        many([1.0, 0.0], [True, False], [[0, 1]], domain="math"),
        many([1.0, 0.0], [False, True], [[0, 1]], domain="gpqa"),
    ]
    table = values(evaluate_scored("ppe-correctness", rows))
    assert table["accuracy"] == 0.5
    assert (table["accuracy/math"], table["accuracy/gpqa"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("best-of-n", choice([1.0], [True, False]), "1 rewards for 2 responses"),
        ("best-of-n", choice([1.0, 0.0], ["yes", "no"]), "true, false, or numbers"),
        ("best-of-n", choice([1.0, 0.0], [2, 0]), "true, false, or numbers"),
        ("ppe-correctness", many([1.0, 0.0], [1, 0], [[0, 2]]), "pairs of positions"),
        ("ppe-correctness", many([1.0, 0.0], [1, 1], [[0, 1]]), "the same score"),
    ],
)
def test_rows_that_do_not_fit(name: str, row: Row, reason: str) -> None:
    with pytest.raises(EvaluationError, match=f"row 0: .*{reason}"):
        evaluate_scored(name, [row])


def test_a_list_of_labels_of_another_length() -> None:
    good = choice([1.0, 0.0], [True, False])
    with pytest.raises(EvaluationError, match=r"row 1: .* 1 values for 2 responses"):
        evaluate_scored("best-of-n", [good, {**good, "correct": [True]}])
