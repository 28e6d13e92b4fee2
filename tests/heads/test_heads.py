"""Each head against arithmetic of its own: pooled output in, rewards out."""

from __future__ import annotations

import math
import pickle
from copy import copy
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client._base.activation import Activation
from reward_client._protocols.pooled_output import Layout
from reward_client.errors import ActivationError, InputError, NotARewardError, ShapeError
from reward_client.heads import Head, LinearHead, ObjectiveHead, Rows, ScalarHead, StepHead

RAW = Activation("none", "request")
SIGMOID = Activation("sigmoid", "caller")
SOFTMAX = Activation("softmax", "probe")

LOGITS = st.floats(-20, 20)


def vector(*values: float) -> Rows:
    return Rows([values], "vector")


def tokens(*rows: list[float], steps: tuple[int, ...] = ()) -> Rows:
    return Rows(rows, "per token", steps)


def per_step(*rows: list[float]) -> Rows:
    """A row for each of the step tokens, which stand at 2, 5, 8 and so on."""
    return Rows(rows, "per step", tuple(range(2, 3 * len(rows), 3)))


def steps(aggregate: Any = "min", good_label: int | None = 1, **options: Any) -> StepHead:
    return StepHead(step_token=5, good_label=good_label, aggregate=aggregate, **options)


def probability(row: list[float], good: int) -> float:
    """As a softmax is defined, in other steps than the head's."""
    return 1 / sum(math.exp(value - row[good]) for value in row)


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


# One number


@given(LOGITS)
def test_a_scalar(value: float) -> None:
    assert ScalarHead().read(vector(value), RAW).value == value
    assert ScalarHead().read(tokens([7.0], [-7.0], [value]), RAW).value == value
    squashed = ScalarHead().read(vector(logistic(value / 2)), SIGMOID).value
    assert squashed == pytest.approx(value / 2, abs=1e-9)


def test_a_scalar_behind_a_saturated_sigmoid() -> None:
    with pytest.raises(ActivationError, match="saturated"):
        ScalarHead().read(vector(1.0), SIGMOID)


# Steps


@given(st.lists(st.tuples(LOGITS, LOGITS, LOGITS), min_size=1, max_size=6))
def test_steps_from_raw_values(given_rows: list[tuple[float, float, float]]) -> None:
    rows = [list(row) for row in given_rows]
    expected = [probability(row, 2) for row in rows]
    odds = [
        math.log(good) - math.log(probability(row, 0) + probability(row, 1))
        for good, row in zip(expected, rows, strict=True)
    ]
    values = {
        aggregate: steps(aggregate, 2).read(per_step(*rows), RAW).value
        for aggregate in ("min", "product", "mean", "last", "logit_sum")
    }
    assert values == {
        "min": pytest.approx(min(expected), rel=1e-12),
        "product": pytest.approx(math.exp(sum(map(math.log, expected))), rel=1e-11),
        "mean": pytest.approx(sum(expected) / len(expected), rel=1e-12),
        "last": pytest.approx(expected[-1], rel=1e-12),
        "logit_sum": pytest.approx(sum(odds), rel=1e-9, abs=1e-9),
    }
    scores = steps("min", 2).read(per_step(*rows), RAW)
    assert [step.value for step in scores.steps] == pytest.approx(expected, rel=1e-12)
    assert [step.logits for step in scores.steps] == given_rows
    assert scores.objectives == {}


@given(LOGITS, LOGITS)
def test_good_is_the_column_that_was_named(first: float, second: float) -> None:
    (zero,) = steps(good_label=0).read(per_step([first, second]), RAW).steps
    (one,) = steps(good_label=1).read(per_step([first, second]), RAW).steps
    assert zero.value == pytest.approx(logistic(first - second), rel=1e-12)
    assert one.value == pytest.approx(logistic(second - first), rel=1e-12)
    logit = steps("logit_sum", 0).read(per_step([first, second]), RAW).value
    assert logit == pytest.approx(first - second, abs=1e-12)


@given(st.lists(LOGITS, min_size=1, max_size=6))
def test_steps_of_one_value_go_through_one_sigmoid(raw: list[float]) -> None:
    head, logits = steps("product", None), steps("logit_sum", None)
    rows = per_step(*([value] for value in raw))
    expected = [logistic(value) for value in raw]
    scores = head.read(rows, RAW)
    assert [step.value for step in scores.steps] == pytest.approx(expected, rel=1e-12)
    assert [step.logits for step in scores.steps] == [(value,) for value in raw]
    assert scores.value == pytest.approx(math.prod(expected), rel=1e-11)
    assert logits.read(rows, RAW).value == pytest.approx(sum(raw), abs=1e-12)


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=6))
def test_a_sigmoid_that_the_server_applied_is_not_applied_again(raw: list[float]) -> None:
    sent = [[logistic(value)] for value in raw]
    scores = steps("mean", None).read(per_step(*sent), SIGMOID)
    assert [[step.value] for step in scores.steps] == sent
    assert [step.logits for step in scores.steps] == [None] * len(raw)
    assert scores.value == pytest.approx(sum(map(logistic, raw)) / len(raw), rel=1e-12)
    logit_sum = steps("logit_sum", None).read(per_step(*sent), SIGMOID).value
    assert logit_sum == pytest.approx(sum(raw), abs=1e-8)


@given(st.lists(st.tuples(LOGITS, LOGITS), min_size=1, max_size=6))
def test_a_softmax_that_the_server_applied_is_not_applied_again(
    raw: list[tuple[float, float]],
) -> None:
    sent = [[logistic(bad - good), logistic(good - bad)] for bad, good in raw]
    scores = steps("min").read(per_step(*sent), SOFTMAX)
    assert [step.value for step in scores.steps] == [row[1] for row in sent]
    assert [step.logits for step in scores.steps] == [None] * len(raw)
    assert scores.value == min(row[1] for row in sent)
    logit_sum = steps("logit_sum").read(per_step(*sent), SOFTMAX).value
    assert logit_sum == pytest.approx(sum(good - bad for bad, good in raw), abs=1e-9)


def test_a_softmax_of_three_labels_that_the_server_applied() -> None:
    scores = steps("logit_sum", 1).read(per_step([0.1, 0.7, 0.2], [0.5, 0.25, 0.25]), SOFTMAX)
    assert scores.value == pytest.approx(math.log(0.7 / 0.3) + math.log(0.25 / 0.75), rel=1e-12)
    assert [step.value for step in scores.steps] == [0.7, 0.25]


def test_a_sigmoid_of_each_label_that_the_server_applied() -> None:
    scores = steps("min").read(per_step([logistic(-1.0), logistic(2.0)]), SIGMOID)
    assert scores.value == pytest.approx(logistic(3.0), rel=1e-12)


@pytest.mark.parametrize(
    ("head", "row", "activation"),
    [
        (steps("logit_sum", None), [1.0], SIGMOID),
        (steps("logit_sum", None), [0.0], SIGMOID),
        (steps("logit_sum"), [0.0, 1.0], SOFTMAX),
        (steps("logit_sum"), [1.0, 0.0], SOFTMAX),
        (steps("min"), [0.5, 1.0], SIGMOID),
    ],
)
def test_saturated_where_a_logit_is_needed(
    head: StepHead, row: list[float], activation: Activation
) -> None:
    with pytest.raises(ActivationError, match="saturated"):
        head.read(per_step([0.5] * len(row), row), activation)


def test_saturated_where_none_is_needed() -> None:
    scores = steps("mean", None).read(per_step([1.0], [0.0]), SIGMOID)
    assert scores.value == 0.5
    assert steps("product").read(per_step([0.0, 1.0], [0.5, 0.5]), SOFTMAX).value == 0.5


def test_extreme_raw_values_saturate_and_their_logits_do_not() -> None:
    rows = per_step([-1e4, 1e4], [1e4, -1e4], [0.0, 3.0])
    assert steps("min").read(rows, RAW).value == 0.0
    assert steps("logit_sum").read(rows, RAW).value == 3.0
    assert steps("logit_sum", None).read(per_step([-1e4], [1e4], [3.0]), RAW).value == 3.0
    tiny = steps("product", None).read(per_step([-40.0], [-40.0]), RAW).value
    assert tiny == pytest.approx(math.exp(-80), rel=1e-12)


def test_rows_of_all_tokens_are_read_at_the_step_tokens() -> None:
    rows = tokens([9.0], [1.0], [8.0], [7.0], [-1.0], steps=(1, 4))
    scores = steps("last", None).read(rows, RAW)
    assert [step.logits for step in scores.steps] == [(1.0,), (-1.0,)]
    assert [(step.start, step.end) for step in scores.steps] == [(0, 2), (2, 5)]
    assert scores.value == pytest.approx(logistic(-1), rel=1e-12)


@given(st.sets(st.integers(0, 50), min_size=1))
def test_the_spans_of_steps_tile_the_tokens_up_to_the_last_one(places: set[int]) -> None:
    ordered = tuple(sorted(places))
    scores = steps("min", None).read(Rows([[0.0]] * len(ordered), "per step", ordered), RAW)
    covered = [place for step in scores.steps for place in range(step.start, step.end)]
    assert covered == list(range(ordered[-1] + 1))
    assert [step.end - 1 for step in scores.steps] == list(ordered)


@pytest.mark.parametrize("aggregate", ["min", "product", "mean", "last", "logit_sum"])
@pytest.mark.parametrize(
    "rows",
    [
        Rows([], "per step", ()),
        Rows([], "per step", (3,)),
        Rows([[0.0]], "per step", ()),
        Rows([[0.0]] * 2, "per step", (3,)),
        Rows([[0.0]] * 2, "per step", (3, 4, 5)),
        Rows([[0.0]] * 9, "per token", ()),
    ],
)
def test_not_a_row_for_each_step(aggregate: Any, rows: Rows) -> None:
    """Without a step there is no reward: an empty product would be 1."""
    with pytest.raises(ShapeError, match="rows for"):
        steps(aggregate, None).read(rows, RAW)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"step_token": ""}, "step_token="),
        ({"step_token": -1}, "step_token="),
        ({"step_token": True}, "step_token="),
        ({"step_token": 5.0}, "step_token="),
        ({"step_token": None}, "step_token="),
        ({"good_label": -1}, "good_label="),
        ({"good_label": True}, "good_label="),
        ({"good_label": 1.0}, "good_label="),
        ({"good_label": "good"}, "good_label="),
        ({"aggregate": "sum"}, "logit_sum"),
        ({"aggregate": None}, "aggregate="),
        ({"separator": ""}, "separator="),
        ({"separator": 5}, "separator="),
    ],
)
def test_a_step_head_that_cannot_be_meant(options: dict[str, Any], hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        StepHead(**{"step_token": 5, "good_label": 1, "aggregate": "min", **options})


def test_nothing_of_a_step_head_is_guessed() -> None:
    for left_out in ("step_token", "good_label", "aggregate"):
        options: dict[str, Any] = {"step_token": 5, "good_label": 1, "aggregate": "min"}
        del options[left_out]
        with pytest.raises(TypeError, match=left_out):
            StepHead(**options)


# Objectives


@given(st.lists(LOGITS, min_size=3, max_size=3), st.lists(LOGITS, min_size=2, max_size=2))
def test_objectives(values: list[float], weights: list[float]) -> None:
    names = ["helpful", "correct", "verbose"]
    plain = ObjectiveHead(names).read(vector(*values), RAW)
    assert plain.value is None
    assert plain.objectives == dict(zip(names, values, strict=True))
    assert list(plain.objectives) == names
    weighted = ObjectiveHead(names, {"verbose": weights[0], "helpful": weights[1]})
    expected = Fraction(weights[0]) * Fraction(values[2]) + Fraction(weights[1]) * Fraction(
        values[0]
    )
    scores = weighted.read(vector(*values), RAW)
    assert scores.value == pytest.approx(float(expected), rel=1e-12, abs=1e-12)
    assert scores.objectives == plain.objectives


def test_objectives_of_the_last_token() -> None:
    rows = tokens([1.0, 2.0], [3.0, 4.0])
    assert ObjectiveHead(2).read(rows, RAW).objectives == {"label_0": 3.0, "label_1": 4.0}


def test_objectives_behind_a_sigmoid_and_a_softmax() -> None:
    sent = vector(logistic(1.5), logistic(-2.5))
    scores = ObjectiveHead(2, {"label_0": 1.0, "label_1": 2.0}).read(sent, SIGMOID)
    assert scores.objectives == pytest.approx({"label_0": 1.5, "label_1": -2.5})
    assert scores.value == pytest.approx(-3.5)
    with pytest.raises(ActivationError, match="softmax"):
        ObjectiveHead(2).read(vector(0.25, 0.75), SOFTMAX)


@pytest.mark.parametrize(
    ("names", "weights", "hint"),
    [
        (0, None, "or their number"),
        (-1, None, "or their number"),
        (True, None, "or their number"),
        (2.0, None, "or their number"),
        (None, None, "or their number"),
        ("helpful", None, "or their number"),
        ([], None, "or their number"),
        (["helpful", ""], None, "or their number"),
        (["helpful", 1], None, "or their number"),
        ([["helpful"]], None, "or their number"),
        (["helpful", "helpful"], None, "must be unique"),
        (2, {"label_2": 1.0}, "unknown objective 'label_2'"),
        (2, {"label_0": math.nan}, "finite"),
        (2, {"label_0": -math.inf}, "finite"),
        (2, {"label_0": "1"}, "finite"),
        (2, {"label_0": True}, "finite"),
        (2, {"label_0": None}, "finite"),
        (2, {"label_0": 10**400}, "finite"),
        (2, {}, "weights="),
        (2, [1.0, 2.0], "weights="),
        (2, 1.0, "weights="),
    ],
)
def test_objectives_that_cannot_be_meant(names: Any, weights: Any, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        ObjectiveHead(names, weights)


def test_weights_are_kept_as_they_were() -> None:
    weights = {"label_0": 1.0}
    head = ObjectiveHead(2, weights)
    weights["label_0"] = 2.0
    assert head.read(vector(3.0, 4.0), RAW).value == 3.0
    same: Any = [MappingProxyType({"label_0": 1}), {"label_0": np.float64(1.0)}]
    for alike in same:
        assert ObjectiveHead(2, alike) == head


# A layer held by the client


@given(st.lists(st.tuples(LOGITS, LOGITS), min_size=1, max_size=50), LOGITS)
def test_a_linear_layer(pairs: list[tuple[float, float]], bias: float) -> None:
    weight, state = [w for w, _ in pairs], [s for _, s in pairs]
    expected = sum(Fraction(w) * Fraction(s) for w, s in pairs) + Fraction(bias)
    for layer in (weight, [weight]):
        scores = LinearHead(layer, bias).read(vector(*state), RAW)
        assert scores.value == pytest.approx(float(expected), rel=1e-12, abs=1e-12)
        assert scores.objectives == {}


def test_small_numbers_are_not_lost_beside_large_ones() -> None:
    head = LinearHead([1e16, 1.0, -1e16])
    assert head.read(vector(1.0, 0.5, 1.0), RAW).value == 0.5


def test_a_linear_layer_of_several_outputs_gives_objectives() -> None:
    head = LinearHead([[1.0, 0.0], [0.5, 2.0], [-1.0, -1.0]], [0.0, 10.0, 0.25])
    scores = head.read(tokens([9.0, 9.0], [2.0, 3.0]), RAW)
    assert scores.value is None
    assert scores.objectives == {"label_0": 2.0, "label_1": 17.0, "label_2": -4.75}


class Tensor:
    """What LinearHead knows of a torch tensor."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def tolist(self) -> Any:
        return self.values


WEIGHT = [[1.0, 2.5, -3.0], [0.5, 0.0, 4.0]]


@pytest.mark.parametrize(
    "weight",
    [
        WEIGHT,
        tuple(map(tuple, WEIGHT)),
        np.array(WEIGHT),
        np.array(WEIGHT, dtype=np.float16),
        list(np.array(WEIGHT)),
        Tensor(WEIGHT),
        [Tensor(row) for row in WEIGHT],
        np.array(WEIGHT)[:, ::-1][:, ::-1],
    ],
)
@pytest.mark.parametrize(
    "bias",
    [[1, -2], (1.0, -2.0), np.array([1.0, -2.0], np.float32), np.array([1, -2]), Tensor([1, -2])],
)
def test_arrays_of_any_make(weight: Any, bias: Any) -> None:
    head = LinearHead(weight, bias)
    assert head == LinearHead(WEIGHT, [1.0, -2.0])
    assert head.weight == ((1.0, 2.5, -3.0), (0.5, 0.0, 4.0))
    assert head.bias == (1.0, -2.0)
    assert {type(number) for number in (*head.weight[0], *head.bias)} == {float}


@pytest.mark.parametrize(
    "bias", [0.5, [0.5], np.float64(0.5), np.float32(0.5), np.array(0.5), Tensor(0.5)]
)
def test_one_bias(bias: Any) -> None:
    for weight in ([1.0, 2.0], [[1.0, 2.0]], np.array([1.0, 2.0]), [np.float32(1), np.float64(2)]):
        assert LinearHead(weight, bias) == LinearHead([1.0, 2.0], [0.5])


@pytest.mark.parametrize(
    ("weight", "bias", "hint"),
    [
        ([], None, "shape"),
        (None, None, "shape"),
        (0.5, None, "shape"),
        ("0.5", None, "shape"),
        ([[]], None, "finite"),
        ([[1.0, 2.0], [3.0]], None, r"2 rows of \[1, 2\] numbers"),
        ([[1.0], 2.0], None, "finite"),
        ([2.0, [1.0]], None, "finite"),
        ([[[1.0]]], None, "finite"),
        (np.zeros((1, 2, 3)), None, "finite"),
        (np.array([True, False]), None, "finite"),
        (np.array(["1.0"]), None, "finite"),
        ([1.0, math.nan], None, "finite"),
        ([[1.0, math.inf]], None, "finite"),
        (np.array([1.0, np.nan]), None, "finite"),
        ([1.0, "2.0"], None, "finite"),
        ([1.0, 1 + 2j], None, "finite"),
        ([1.0, 10**400], None, "finite"),
        (["12"], None, "finite"),
        ([1.0, 2.0], math.nan, "finite"),
        ([1.0, 2.0], [math.inf], "finite"),
        ([1.0, 2.0], True, "finite"),
        ([1.0, 2.0], [], "finite"),
        ([1.0, 2.0], "0.5", "finite"),
        ([1.0, 2.0], [[0.5]], "finite"),
        ([1.0, 2.0], [0.5, 0.5], "2 biases"),
        ([[1.0], [2.0]], 0.5, "1 biases"),
    ],
)
def test_layers_that_are_none(weight: Any, bias: Any, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        LinearHead(weight, bias)


def test_numbers_are_not_shown_by_the_thousand() -> None:
    head = LinearHead(np.ones((3, 4096)), [1.0] * 3)
    assert repr(head) == "LinearHead(outputs=3, hidden=4096)"
    problem = head.problem(Layout("vector", 1024))
    assert len(str(problem)) < 300
    with pytest.raises(InputError) as caught:
        LinearHead([*[1.0] * 4096, math.nan])
    assert len(str(caught.value)) < 300


def test_a_linear_head_reads_states_of_its_width_only() -> None:
    head = LinearHead([1.0] * 128)
    assert head.problem(Layout("vector", 128)) is None
    assert head.problem(Layout("per token", 128)) is None
    for layout in (Layout("vector", 1), Layout("vector", 127), Layout("per token", 127)):
        problem = head.problem(layout)
        assert type(problem) is ShapeError
        assert "128" in str(problem)
        assert "--convert embed" in str(problem)


# All of them

HEADS: list[Head] = [
    ScalarHead(),
    steps("logit_sum", separator="\n\n"),
    StepHead(step_token="<extra_0>", good_label=None, aggregate="mean"),
    ObjectiveHead(3),
    ObjectiveHead(["helpful", "correct"], {"helpful": 0.5}),
    LinearHead([[1.0, 2.0], [3.0, 4.0]], [0.5, 0.25]),
]


@pytest.mark.parametrize("head", HEADS, ids=repr)
def test_heads_are_values(head: Head) -> None:
    """They go to the workers of Ray and multiprocessing, and into sets."""
    for twin in (pickle.loads(pickle.dumps(head)), copy(head)):
        assert twin == head
        assert hash(twin) == hash(head)
        assert type(twin) is type(head)
        assert repr(twin) == repr(head)
    assert [other for other in HEADS if other == head] == [head]
    anything: Any = head
    with pytest.raises((AttributeError, TypeError)):
        anything.names = ("x",)


@pytest.mark.parametrize(
    ("head", "layout", "words"),
    [
        (ScalarHead(), Layout("vector", 1), "scalar"),
        (ScalarHead(), Layout("per token", 1), "scalar (last token)"),
        (steps("min"), Layout("per step", 2), "steps (min, 2 labels, good 1)"),
        (ObjectiveHead(3), Layout("vector", 3), "3 objectives (no scalar)"),
        (
            ObjectiveHead(["a", "b"], {"a": 1}),
            Layout("per token", 2),
            "2 objectives (weighted, last token)",
        ),
        (LinearHead([1.0] * 8), Layout("vector", 8), "linear (8 to 1, by the client)"),
    ],
)
def test_in_words(head: Head, layout: Layout, words: str) -> None:
    assert head.problem(layout) is None
    assert head.describe(layout) == words


def test_a_process_model_is_named_as_such() -> None:
    """Its rows cannot be told from the probes: they hold no step token that a server knows."""
    for head in (ScalarHead(), ObjectiveHead(2), LinearHead([1.0, 2.0])):
        for layout in (Layout("per step", 0), Layout("per step", 2)):
            problem = head.problem(layout)
            assert type(problem) is ShapeError
            assert "head=StepHead" in str(problem)
    assert "step_tag_id" in str(steps().problem(Layout("per step", 0)))


def test_hidden_states_are_named_as_such() -> None:
    for head in (ScalarHead(), ObjectiveHead(3), steps()):
        problem = head.problem(Layout("per token", 4096))
        assert type(problem) is NotARewardError
        assert "4096" in str(problem)
