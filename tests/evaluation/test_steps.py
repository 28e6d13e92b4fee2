"""ProcessBench and PRMBench by hand, and over a process reward model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reward_client import EvaluationError, RewardClient, StepHead
from reward_client.evaluation import evaluate, evaluate_scored
from reward_client.testing import RewardServer

from .rows import FAILED, Row, counts, values
from .test_rows import write


def stepped(row: Row, rewards: list[float]) -> Row:
    steps = [{"value": value, "logits": None, "start": 0, "end": 1} for value in rewards]
    return {**row, "form": "steps", "reward": min(rewards), "step_rewards": steps}


def solution(label: int, rewards: list[float], name: str = "math-1") -> Row:
    steps = [f"s{number}" for number in range(len(rewards))]
    return stepped({"id": name, "problem": "q", "steps": steps, "label": label}, rewards)


def process(wrong: list[int], rewards: list[float], category: str = "circular", **more: Any) -> Row:
    steps = [f"{number + 1}. s" for number in range(len(rewards))]
    row = {
        "modified_question": "q",
        "modified_process": steps,
        "error_steps": wrong,
        "classification": category,
        **more,
    }
    return stepped(row, rewards)


def test_processbench() -> None:
    rows = [
        solution(1, [0.9, 0.2, 0.1]),  # found
        solution(1, [0.9, 0.6, 0.1]),  # found too late
        solution(0, [0.9, 0.9]),  # not found
        solution(2, [0.9, 0.9, 0.5]),  # found: 0.5 is not above the threshold
        solution(-1, [0.9, 0.51]),  # right
        solution(-1, [0.9, 0.4]),  # a false alarm
        solution(-1, [0.6]),  # right
        solution(0, [0.1], "gsm8k-7"),
        solution(-1, [0.1], "gsm8k-8"),
    ]
    evaluation = evaluate_scored("processbench", rows)
    math = 2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3)
    assert values(evaluation) == {
        "F1": (0.0 + math) / 2,
        "gsm8k": 0.0,  # the harmonic mean of 1 and 0
        "gsm8k/wrong solutions": 1.0,
        "gsm8k/correct solutions": 0.0,
        "math": math,
        "math/wrong solutions": 2 / 4,
        "math/correct solutions": 2 / 3,
    }
    assert (
        "no score of olympiadbench, omnimath for lack of rows: F1 covers the other parts"
        in evaluation.notes
    )
    assert "a step is wrong if its reward is at most 0.5" in str(evaluation)


def test_another_threshold() -> None:
    rows = [solution(1, [0.9, 0.6]), solution(-1, [0.9])]
    assert evaluate_scored("processbench", rows).value == 0.0
    evaluation = evaluate_scored("processbench", rows, threshold=0.7)
    assert (evaluation.value, evaluation.threshold) == (1.0, 0.7)
    assert "a step is wrong if its reward is at most 0.7" in str(evaluation)


def test_a_subset_of_one_kind_has_no_f1() -> None:
    whole = [solution(0, [0.1]), solution(-1, [0.9]), solution(-1, [0.9], "gsm8k-1")]
    evaluation = evaluate_scored("processbench", whole)
    table = values(evaluation)
    assert (table["F1"], table["gsm8k/correct solutions"]) == (1.0, 1.0)
    assert evaluation.notes[0].startswith("no score of gsm8k, olympiadbench, omnimath for lack")
    assert "gsm8k" not in table
    with pytest.raises(EvaluationError, match="no subset has both"):
        evaluate_scored("processbench", whole[1:])


def test_prmbench() -> None:
    rows = [
        # Steps 1 and 4 are right, 2 and 3 wrong. Found: 1 (tp), 2 (tn); missed: 3 (fp), 4 (fn).
        process([2, 3], [0.9, 0.1, 0.8, 0.2]),
        # All right: two tp, one fn.
        process([], [0.9, 0.8, 0.3], "multi_solutions"),
        process([1], [0.2], "deception"),  # tn
    ]
    table = values(evaluate_scored("prmbench", rows))
    # tp 3, fp 1, tn 2, fn 2.
    assert table == {
        "PRMScore": (6 / 9 + 4 / 7) / 2,
        "F1": 6 / 9,
        "negative F1": 4 / 7,
        "simplicity": 0.5,
        "simplicity/circular": (2 / 4 + 2 / 4) / 2,
        "sensitivity": (0.5 + 4 / 5) / 2,
        "sensitivity/deception": (0.0 + 1.0) / 2,
        "sensitivity/multi_solutions": 4 / 5,
    }
    assert counts(evaluate_scored("prmbench", rows))["PRMScore"] == 8


def test_rows_of_prmbench_with_one_idx_count_once() -> None:
    rows = [process([1], [0.2], idx="a"), process([1], [0.9], idx="a")]
    evaluation = evaluate_scored("prmbench", rows)
    assert counts(evaluation)["PRMScore"] == 1
    assert "rows that repeat an earlier one, left out: 1" in evaluation.notes


def test_steps_after_the_last_one_are_no_steps() -> None:
    rows = [process([2, 9], [0.9, 0.1])]
    assert evaluate_scored("prmbench", rows).value == 1.0


def test_failed_rows_are_wrong() -> None:
    failed = {**solution(1, [0.9, 0.2]), "reward": None, "error": FAILED}
    del failed["step_rewards"]
    rows = [failed, {**failed, "label": -1}, solution(1, [0.9, 0.2]), solution(-1, [0.9])]
    table = values(evaluate_scored("processbench", rows, allow_failed=True))
    assert (table["math/wrong solutions"], table["math/correct solutions"]) == (0.5, 0.5)
    broken = {**process([1], [0.2, 0.9]), "error": FAILED}
    rows = [broken, process([1], [0.2, 0.9])]
    # tp 1, tn 1; of the failed row: fp 1, fn 1.
    assert evaluate_scored("prmbench", rows, allow_failed=True).value == 0.5


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (solution(3, [0.9]), "neither the position of a step nor -1"),
        ({**solution(0, [0.9]), "steps": ["a", "b"]}, "1 step rewards for 2 steps"),
        ({**solution(0, [0.9]), "step_rewards": None}, "no step_rewards.*process reward model"),
        ({**solution(0, [0.9]), "step_rewards": [{"value": None}]}, "no number"),
    ],
)
def test_rows_that_do_not_fit(row: Row, reason: str) -> None:
    with pytest.raises(EvaluationError, match=reason):
        evaluate_scored("processbench", [row])


def test_over_a_process_reward_model(tmp_path: Path) -> None:
    steps = ["2 + 2 is 4.", "4 + 3 is 7.", "So it is 7."]
    numbered = [f"Step {number}. {step}" for number, step in enumerate(steps, 1)]
    rows = [
        {"id": f"math-{label}", "problem": "2 + 2 + 3?", "steps": steps, "label": label}
        for label in (-1, 0, 1, 2)
    ]
    prm_row = {
        "original_question": "2 + 3?",
        "modified_question": "2 + 2 + 3?",
        "question": "?",
        "original_process": ["1. x"],
        "modified_process": numbered,
        "error_steps": [2],
        "modified_steps": [2],
        "reason": "r",
        "idx": "a",
        "classification": "circular",
    }
    with RewardServer(head="steps") as server:
        head = StepHead(step_token=server.step_token, good_label=1, aggregate="min")
        with RewardClient(server.url, head=head) as client:
            evaluation = evaluate(
                "processbench", write(tmp_path / "processbench.jsonl", rows), client
            )
            again = evaluate("prmbench", write(tmp_path / "prmbench.jsonl", [prm_row]), client)
    scored = json.loads((tmp_path / "processbench.scored.jsonl").read_text().splitlines()[0])
    found = [step["value"] for step in scored["step_rewards"]]
    first = next((place for place, value in enumerate(found) if value <= 0.5), -1)
    table = values(evaluation)
    assert table["math/correct solutions"] == float(first == -1)
    assert table["math/wrong solutions"] == (1 / 3 if first >= 0 else 0.0)
    # The numbers of the steps are removed, so that the rewards are equal.
    scored = json.loads((tmp_path / "prmbench.scored.jsonl").read_text())
    assert [step["value"] for step in scored["step_rewards"]] == found
    assert counts(again)["PRMScore"] == 3
