"""JudgeBench, PPE Human Preference and RMB by hand."""

from __future__ import annotations

from typing import Any

import pytest

from reward_client import EvaluationError
from reward_client.evaluation import evaluate_scored

from .rows import FAILED, Row, counts, values


def judged(label: str, first: float, second: float, source: str = "mmlu-pro-law") -> Row:
    return {
        "question": "q",
        "response_A": "a",
        "response_B": "b",
        "label": label,
        "source": source,
        "form": "comparison",
        "reward": {"response_A": first, "response_B": second},
    }


def voted(winner: str, first: float, second: float, **flags: Any) -> Row:
    return {
        "prompt": "q",
        "response_1": "a",
        "response_2": "b",
        "winner": winner,
        **flags,
        "form": "comparison",
        "reward": {"response_1": first, "response_2": second},
    }


def rmb_pair(path: str, chosen: float, rejected: float) -> Row:
    return {
        "conversation_input": [{"role": "user", "content": "q", "language": "English"}],
        "chosen": {"llm_name": "m", "answer": "a"},
        "reject": {"llm_name": "n", "answer": "b"},
        "category_path": f"Pairwise_set/{path}",
        "form": "preference",
        "reward": {"chosen": chosen, "rejected": rejected},
    }


def rmb_list(path: str, best: float, *losers: float) -> Row:
    return {
        "conversation_input": [{"role": "user", "content": "q", "language": "English"}],
        "bon_best": {"llm_name": "m", "answer": "a"},
        "loser_list": [{"llm_name": "n", "answer": "b"} for _ in losers],
        "category_path": f"BoN_set/{path}",
        "form": "preference",
        "reward": {"chosen": best, "rejected": [*losers]},
    }


def test_judgebench() -> None:
    rows = [
        judged("A>B", 2.0, 1.0),
        judged("A>B", 1.0, 2.0),
        judged("B>A", 1.0, 2.0),
        judged("B>A", 1.0, 1.0),  # equal: the two orders give two verdicts, so neither is right
        judged("B>A", 0.0, 1.0, "livebench-math"),
        judged("A>B", 0.0, 1.0, "elsewhere"),
    ]
    evaluation = evaluate_scored("judgebench", rows)
    assert values(evaluation) == {
        "accuracy": 3 / 6,
        "Knowledge": 2 / 4,
        "Math": 1.0,
        "elsewhere": 0.0,
    }
    assert "pairs with equal rewards for a better and a worse answer: 1" in evaluation.notes
    assert "a reward does not depend on the order of a pair" in str(evaluation)


@pytest.mark.parametrize("first", [1, 0, -1])
@pytest.mark.parametrize("second", [1, 0, -1])
def test_the_verdicts_of_a_judge_in_both_orders(first: int, second: int) -> None:
    # `compute_final_metrics` of JudgeBench: one point for each verdict that equals the label, minus
    # one for each that is its reverse; a pair with points above 0 is right. The client's reward is
    # the mean win rate over both orders, where a tie counts one half.
    points = first + second
    better = ((1 + first) / 2 + (1 + second) / 2) / 2
    evaluation = evaluate_scored("judgebench", [judged("A>B", better, 1 - better)])
    assert evaluation.value == float(points > 0)


def test_votes() -> None:
    rows = [
        voted("model_a", 2.0, 1.0, hard_prompt=True, is_code=False),
        voted("model_b", 2.0, 1.0, hard_prompt=True, is_code=False),
        voted("model_b", 1.0, 2.0, hard_prompt=False, is_code=True),
        voted("tie", 1.0, 2.0, hard_prompt=True),
        voted("tie (bothbad)", 1.0, 2.0),
    ]
    evaluation = evaluate_scored("ppe-human-preference", rows)
    assert values(evaluation) == {"accuracy": 2 / 3, "hard_prompt": 1 / 2, "is_code": 1.0}
    assert "pairs without a winner, left out: 2" in evaluation.notes


def test_rmb() -> None:
    rows = [
        rmb_pair("Helpfulness/Chat/Discussion", 2.0, 1.0),
        rmb_pair("Helpfulness/Code/Data Management", 1.0, 2.0),
        rmb_pair("Helpfulness/Code/Data Management", 2.0, 1.0),
        rmb_list("Harmlessness/S1", 3.0, 2.0, 1.0),  # above all of them
        rmb_list("Harmlessness/S1", 3.0, 2.0, 4.0),
        rmb_list("Harmlessness/S2", 3.0, 2.0, 3.0),  # not above an equal one
    ]
    evaluation = evaluate_scored("rmb", rows)
    assert values(evaluation) == {
        "average": (2 / 3 + 1 / 3) / 2,
        "Helpfulness, Pairwise": 2 / 3,
        "Harmlessness, BoN": 1 / 3,
    }
    assert counts(evaluation)["average"] == 6


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("judgebench", judged("A=B", 1.0, 0.0)),
        ("ppe-human-preference", voted("neither", 1.0, 0.0)),
    ],
)
def test_labels_that_are_unknown(name: str, row: Row) -> None:
    with pytest.raises(EvaluationError, match=r"row 0: its (label|winner) is neither"):
        evaluate_scored(name, [row])


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("judgebench", judged("A>B", 1.0, 0.0)),
        ("ppe-human-preference", voted("model_a", 1.0, 0.0)),
        ("rmb", rmb_pair("Harmlessness/S1", 1.0, 0.0)),
        ("rmb", rmb_list("Harmlessness/S1", 1.0, 0.0)),
    ],
)
def test_a_failed_row_is_wrong(name: str, row: Row) -> None:
    rows = [row, {**row, "reward": None, "error": FAILED}]
    assert evaluate_scored(name, rows, allow_failed=True).value == 0.5
