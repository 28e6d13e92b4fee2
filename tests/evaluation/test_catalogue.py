"""All benchmarks: each file is recognized as its own, and every number is one."""

from __future__ import annotations

import math

import pytest

from reward_client import InputError
from reward_client.evaluation import BENCHMARKS, compare, evaluate_scored

from .rows import FAILED, Row, pair
from .test_choices import choice, many
from .test_lists import four, styles, ties
from .test_pairs import judged, rmb_list, rmb_pair, voted
from .test_steps import process, solution

ROWS: dict[str, list[Row]] = {
    "rewardbench": [pair(2.0, 1.0), pair(1.0, 1.0, subset="shp"), pair(0.0, 1.0, subset="mine")],
    "rewardbench-2": [
        four(1.0, 0.0, 0.0, 0.0),
        ties("ref:0", [1.0], [0.0]),
        ties("tied:0", [1.0, 1.0], [0.0]),
    ],
    "rm-bench": [styles([3.0] * 3, [0.0] * 3), styles([0.0] * 3, [0.0] * 3, "code")],
    "judgebench": [judged("A>B", 1.0, 0.0), judged("B>A", 1.0, 0.0)],
    "rmb": [rmb_pair("Helpfulness/Chat", 1.0, 0.0), rmb_list("Harmlessness/S1", 1.0, 0.0)],
    "ppe-human-preference": [voted("model_a", 1.0, 0.0), voted("tie", 0.0, 0.0)],
    "ppe-correctness": [many([1.0, 0.0], [True, False], [[0, 1]])] * 2,
    "processbench": [solution(0, [0.1]), solution(-1, [0.9])],
    "prmbench": [process([], [0.9], "multi_solutions"), process([1], [0.9])],
    "best-of-n": [choice([1.0, 0.0], [True, False]), choice([0.0], [False])],
}
PAIRS = [(one, other) for one in BENCHMARKS for other in BENCHMARKS if one != other]


def test_every_benchmark_has_rows() -> None:
    assert ROWS.keys() == BENCHMARKS.keys()


@pytest.mark.parametrize(("name", "other"), PAIRS)
def test_every_file_is_recognized(name: str, other: str) -> None:
    with pytest.raises(InputError) as raised:
        evaluate_scored(other, ROWS[name])
    assert f"It looks like {BENCHMARKS[name].title}: evaluate it as {name}." in str(raised.value)


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("failed", [False, True])
def test_every_number_is_one(name: str, failed: bool) -> None:
    rows = ROWS[name]
    if failed:
        rows = [{**rows[0], "reward": None, "error": FAILED}, *rows[1:]]
        rows[0].pop("step_rewards", None)
    evaluation = evaluate_scored(name, rows, allow_failed=failed)
    comparison = compare(evaluation, evaluate_scored(name, ROWS[name]), resamples=100)
    for measure in evaluation.measures:
        assert math.isfinite(measure.value)
        assert -1 <= measure.value <= 1.01  # the margins of Ties add 0.01 at most
        low, high = measure.interval or (measure.value, measure.value)
        assert low <= measure.value <= high
    for each in comparison.measures:
        assert all(map(math.isfinite, (each.difference, *each.interval, each.other_sign)))
    assert "nan" not in f"{evaluation}{comparison}".lower()
    assert comparison.difference <= 0  # a failed row never helps


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_headline_is_of_the_published_parts(name: str) -> None:
    benchmark = BENCHMARKS[name]
    evaluation = evaluate_scored(name, ROWS[name])
    present = {measure.path[0] for measure in evaluation.measures}
    assert not benchmark.parts or present & {*benchmark.parts}
