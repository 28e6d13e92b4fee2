"""Rows that failed, are missing or repeated, or belong to another benchmark."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from reward_client import EvaluationError, FileError, InputError
from reward_client.evaluation import BENCHMARKS, evaluate_scored

from .rows import FAILED, Row, failed_pair, pair
from .synthetic import rewardbench


def write(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_79_failed_rows_are_refused() -> None:
    rows = [pair(2.0, 1.0), failed_pair(), failed_pair(), pair(2.0, 1.0)]
    with pytest.raises(EvaluationError) as raised:
        evaluate_scored("rewardbench", rows)
    assert str(raised.value) == (
        "Cannot compute the score: 2 of 4 rows failed (2 PromptTooLongError). The first is row 1: "
        "The sample has 5120 tokens. Score them again (retry_failed=True), or count them as wrong "
        "(allow_failed=True)."
    )


def test_failed_rows_count_as_wrong_where_that_is_allowed() -> None:
    rows = [pair(2.0, 1.0), failed_pair(), pair(2.0, 1.0), failed_pair()]
    evaluation = evaluate_scored("rewardbench", rows, allow_failed=True)
    assert (evaluation.value, evaluation.rows, evaluation.failed) == (0.5, 4, 2)
    assert evaluation.failures == {"PromptTooLongError": 2}
    assert "failed rows count as wrong: 2 PromptTooLongError" in str(evaluation)


def test_a_file_whose_rows_all_failed_has_no_score() -> None:
    with pytest.raises(EvaluationError, match="2 of 2 rows failed"):
        evaluate_scored("rewardbench", [failed_pair()] * 2, allow_failed=True)


def test_a_row_that_could_not_be_read_has_no_sides() -> None:
    row = {**pair(0.0, 0.0), "reward": None, "error": FAILED}
    evaluation = evaluate_scored("rewardbench", [row, pair(2.0, 1.0)], allow_failed=True)
    assert evaluation.value == 0.5


@pytest.mark.parametrize("kept", [[1, 2], [0, 2], [0, 0, 1]])
def test_missing_and_repeated_rows_of_a_file(kept: list[int], tmp_path: Path) -> None:
    rows = [{"row": number, **pair(2.0, 1.0)} for number in range(3)]
    path = write(tmp_path / "scored.jsonl", [rows[number] for number in kept])
    with pytest.raises(EvaluationError, match="missing or repeated"):
        evaluate_scored("rewardbench", path)


def test_fewer_rows_than_were_published_are_said() -> None:
    assert "the published file has 2,985 rows, and this one 600" in str(
        evaluate_scored("rewardbench", rewardbench())
    )


def test_equal_rows_are_said() -> None:
    evaluation = evaluate_scored("rewardbench", [pair(2.0, 1.0)] * 3)
    assert "rows that repeat an earlier one, and count again: 2" in evaluation.notes


def test_no_rows(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="there are no rows"):
        evaluate_scored("rewardbench", write(tmp_path / "empty.jsonl", []))
    with pytest.raises(EvaluationError, match="there are no rows"):
        evaluate_scored("rewardbench", [])


def test_rows_without_a_reward() -> None:
    row = pair(2.0, 1.0)
    del row["reward"]
    with pytest.raises(EvaluationError, match="row 1: it has no column reward"):
        evaluate_scored("rewardbench", [pair(2.0, 1.0), row])


def test_a_row_that_was_no_row() -> None:
    broken = {"reward": None, "error": {"type": "InputError", "message": "It is not JSON."}}
    with pytest.raises(EvaluationError, match=r"row 1: it could not be read \(It is not JSON"):
        evaluate_scored("rewardbench", [pair(2.0, 1.0), broken], allow_failed=True)


@pytest.mark.parametrize(
    "reward",
    [
        *({"chosen": 1.0}, 3.0, None, {"chosen": 1.0, "rejected": None}),
        *({"chosen": math.nan, "rejected": 1.0}, {"chosen": math.inf, "rejected": 1.0}),
        {"chosen": "1", "rejected": 0.0},
    ],
)
def test_rewards_of_another_layout(reward: Any) -> None:
    with pytest.raises(EvaluationError, match="Cannot evaluate row 0: "):
        evaluate_scored("rewardbench", [{**pair(1.0, 0.0), "reward": reward}])


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "rewardbench"])
def test_the_file_of_another_benchmark(name: str) -> None:
    with pytest.raises(InputError) as raised:
        evaluate_scored(name, [pair(1.0, 0.0)])
    assert str(raised.value).endswith("It looks like RewardBench: evaluate it as rewardbench.")


def test_the_file_of_no_benchmark() -> None:
    with pytest.raises(InputError) as raised:
        evaluate_scored("rm-bench", [{"question": "q", "answer": "a", "reward": 1.0}])
    assert str(raised.value) == (
        "Cannot evaluate this file as RM-Bench, which needs prompt, chosen and rejected (three "
        "styles each), domain. The first row has question, answer."
    )


def test_a_name_of_no_benchmark() -> None:
    with pytest.raises(InputError, match=r"no benchmark has this name.* rewardbench-2"):
        evaluate_scored("reward-bench", [pair(1.0, 0.0)])


def test_a_threshold_without_steps() -> None:
    with pytest.raises(InputError, match="RewardBench has no rewards of steps"):
        evaluate_scored("rewardbench", [pair(1.0, 0.0)], threshold=0.5)


@pytest.mark.parametrize("content", ["nonsense\n", "[1]\n"])
def test_lines_that_are_no_objects(content: str, tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"row 0 of .* not (a JSON object|JSON)"):
        evaluate_scored("rewardbench", path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        evaluate_scored("rewardbench", tmp_path / "none.jsonl")


def test_rows_must_be_mappings() -> None:
    with pytest.raises(InputError, match="A row is a mapping"):
        evaluate_scored("rewardbench", [[1]])  # type: ignore[list-item]


def test_json_holds_every_digit_and_no_nan() -> None:
    evaluation = evaluate_scored("rewardbench", rewardbench())
    parsed = json.loads(evaluation.to_json(), parse_constant=pytest.fail)
    assert parsed["value"] == evaluation.value
    assert [each["value"] for each in parsed["measures"]] == [
        measure.value for measure in evaluation.measures
    ]
    assert (parsed["rows"], parsed["failed"], parsed["model"]) == (600, 0, None)
