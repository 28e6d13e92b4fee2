"""RewardBench by hand."""

from __future__ import annotations

import pytest

from reward_client.evaluation import evaluate_scored

from .rows import counts, pair, values


def test_sections_are_weighted_by_the_published_counts() -> None:
    rows = [
        # Chat Hard: 1 of 2 of mt-bench-hard (37), 1 of 1 of llmbar-natural (100).
        pair(2.0, 1.0, subset="mt-bench-hard"),
        pair(1.0, 2.0, subset="mt-bench-hard"),
        pair(0.5, -0.5, subset="llmbar-natural"),
        # Reasoning: 0 of 1 of math-prm (984), 1 of 1 of hep-cpp (164).
        pair(-3.0, -2.0, subset="math-prm"),
        pair(-2.0, -3.0, subset="hep-cpp"),
    ]
    evaluation = evaluate_scored("rewardbench", rows)
    hard, reasoning = (37 * 0.5 + 100) / 137, 164 / 1148
    assert values(evaluation) == {
        "average": (hard + reasoning) / 2,
        "Chat Hard": hard,
        "Chat Hard/mt-bench-hard": 0.5,
        "Chat Hard/llmbar-natural": 1.0,
        "Reasoning": reasoning,
        "Reasoning/math-prm": 0.0,
        "Reasoning/hep-cpp": 1.0,
    }
    assert counts(evaluation)["Chat Hard"] == 3
    assert (
        "no score of Chat, Safety for lack of rows: average covers the other parts"
        in evaluation.notes
    )


def test_prior_sets_have_half_the_weight_of_a_section() -> None:
    rows = [
        pair(1.0, 0.0, subset="donotanswer"),
        pair(0.0, 1.0, subset="shp"),
        pair(0.0, 1.0, subset="summarize"),
        pair(1.0, 0.0, subset="summarize"),
    ]
    table = values(evaluate_scored("rewardbench", rows))
    assert table["Prior Sets"] == 0.25  # the mean of 0 and 1/2
    assert table["average"] == (1.0 + 0.25 / 2) / 1.5


def test_equal_rewards_are_no_win_and_are_counted() -> None:
    evaluation = evaluate_scored("rewardbench", [pair(1.0, 1.0), pair(2.0, 1.0)])
    assert evaluation.value == 0.5
    assert "pairs with equal rewards for a better and a worse answer: 1" in evaluation.notes


def test_subsets_of_no_section_are_shown_and_count_nowhere() -> None:
    rows = [pair(2.0, 1.0), pair(1.0, 2.0, subset="mine")]
    table = values(evaluate_scored("rewardbench", rows))
    assert (table["average"], table["mine"]) == (1.0, 0.0)
    alone = values(evaluate_scored("rewardbench", rows[1:]))
    assert alone == {"average": 0.0, "mine": 0.0}


def test_intervals_are_those_of_shares() -> None:
    evaluation = evaluate_scored("rewardbench", [pair(2.0, 1.0)] * 9 + [pair(1.0, 2.0)])
    average, section, subset = evaluation.measures
    assert average.interval is section.interval is None
    # Wilson's interval of 9 out of 10, as in his table's formula: 0.5958 to 0.9821.
    assert subset.interval == pytest.approx((0.5958, 0.9821), abs=5e-5)
