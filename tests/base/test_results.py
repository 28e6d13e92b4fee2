"""What a reward says of itself, and what it refuses to say."""

from __future__ import annotations

import json
import math
import operator
import pickle
import statistics
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from reward_client import (
    Diagnosis,
    Finding,
    InputError,
    Provenance,
    Ranking,
    Reward,
    ServerProfile,
    StepReward,
    TokenizedSample,
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


def reward(value: float | None, **more: Any) -> Reward:
    facts: dict[str, Any] = {"token_count": 1, "token_digest": "d", "bos_count": 0}
    return Reward(value=value, provenance=PROVENANCE, **facts, **more)


def test_a_scalar() -> None:
    scalar = reward(1.5)
    assert (float(scalar), scalar.value) == (1.5, 1.5)
    assert scalar.sigmoid() == pytest.approx(1 / (1 + math.exp(-1.5)), abs=1e-15)
    with pytest.raises(TypeError, match="no objectives"):
        scalar.softmax()


def test_objectives_without_weights_have_no_value() -> None:
    several = reward(None, objectives={"a": 1.0, "b": 3.0})
    for read in (float, lambda r: r.value, lambda r: r.sigmoid()):
        with pytest.raises(TypeError, match="objectives"):
            read(several)
    wanted = 1 / (1 + math.exp(2.0))
    assert several.softmax() == pytest.approx({"a": wanted, "b": 1 - wanted}, abs=1e-15)
    with pytest.raises(InputError, match="ObjectiveHead"):
        ranking(["x", "y"], [several, several])


def test_no_sigmoid_over_probabilities() -> None:
    step = StepReward(value=0.9, logits=(0.0, 2.2), start=0, end=3)
    with pytest.raises(TypeError, match="comes from probabilities"):
        reward(0.9, steps=(step,)).sigmoid()


@pytest.mark.parametrize("value", [1.5, None])
def test_it_is_written_and_read_as_value(value: float | None) -> None:
    given = reward(value)
    assert given.model_dump()["value"] == value
    assert "scalar" not in given.model_dump()
    assert Reward.model_validate_json(given.model_dump_json()) == given
    assert pickle.loads(pickle.dumps(given)) == given


def test_one_that_is_not_validated_is_like_one_that_is() -> None:
    step = StepReward(value=0.5, logits=(0.0,), start=0, end=3)
    more: dict[str, Any] = {"steps": (step,), "objectives": {"a": 2.0}, "truncated": True}
    validated = reward(1.5, critiques=(), usage=None, **more)
    quick = Reward.of_checked(
        scalar=1.5, token_count=1, token_digest="d", bos_count=0, provenance=PROVENANCE, **more
    )

    assert quick == validated
    assert quick.model_fields_set == validated.model_fields_set == set(Reward.model_fields)
    assert quick.model_dump_json() == validated.model_dump_json()
    assert pickle.loads(pickle.dumps(quick)) == validated
    assert repr(quick) == repr(validated)
    with pytest.raises(ValueError, match="frozen"):
        quick.truncated = False  # pyright: ignore[reportAttributeAccessIssue]


LOW, HIGH = reward(-1.5), reward(2.0)


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda r: f"{r:.3f}|{r:>6}", "2.000|   2.0"),
        (round, 2),
        (lambda r: round(r, 1), 2.0),
        (int, 2),
        (abs, 2.0),
        (operator.neg, -2.0),
        (operator.pos, 2.0),
        (math.floor, 2),
        (lambda r: [r + 1, 1 + r, r - 1, 1 - r, r * 2, 2 * r, r / 4, 4 / r, r**2], None),
        (lambda r: [r < 3, r <= 2, r > 1.5, r >= True, bool(np.float64(3) > r)], [True] * 5),
        (lambda r: sum([r, r, LOW]), 2.5),
        (lambda r: max(LOW, r), HIGH),
        (lambda r: sorted([r, LOW]), [LOW, HIGH]),
        (lambda r: math.fsum([r, LOW]), 0.5),
        (lambda r: statistics.fmean([r, LOW]), 0.25),
        (lambda r: statistics.mean([r, LOW]), 0.25),
        (lambda r: statistics.variance([r, LOW]), 6.125),
        (lambda r: statistics.stdev([r, LOW]), statistics.stdev([2.0, -1.5])),
        (lambda r: statistics.quantiles([r, LOW], n=2), [0.25]),
        (math.trunc, 2),
        (math.ceil, 2),
        (lambda r: r.as_integer_ratio(), (2, 1)),
        (lambda r: [r // 1.5, 5 // r, r % 1.5, 5 % r, 3**r], [1.0, 2.0, 0.5, 1.0, 9.0]),
        (lambda r: [divmod(r, 1.5), divmod(5, r)], [(1.0, 0.5), (2.0, 1.0)]),
        (lambda r: Fraction(1, 2) + r, 2.5),
        (lambda r: float(np.mean([r, LOW])), 0.25),
        (lambda r: np.asarray([r, LOW]).tolist(), [2.0, -1.5]),
        (lambda r: np.array([r], dtype=np.float32).dtype.name, "float32"),
        (lambda r: (r - np.array([1, 3])).tolist(), [1.0, -1.0]),
        (lambda r: [bool(r < np.float32(3)), bool(np.float32(3) > r)], [True, True]),
        (lambda r: r == pytest.approx(2.0), True),
        (lambda r: json.dumps([r], default=float), "[2.0]"),
    ],
)
def test_a_reward_is_a_number_where_python_expects_one(
    read: Callable[[Any], Any], expected: Any
) -> None:
    if expected is None:
        expected = [3.0, 3.0, 1.0, -1.0, 4.0, 4.0, 0.5, 2.0, 4.0]
    assert read(HIGH) == expected


@pytest.mark.parametrize(
    "read",
    [
        lambda r: f"{r:.3f}",
        round,
        int,
        abs,
        lambda r: r + 1,
        lambda r: sum([r]),
        lambda r: r < 1,
        lambda r: max(r, r),
        np.asarray,
        lambda r: np.mean([r, r]),
    ],
)
def test_one_without_a_single_value_is_no_number(read: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"Read reward\.objectives"):
        read(reward(None, objectives={"a": 1.0, "b": 3.0}))


@pytest.mark.parametrize("other", ["2.0", None, [1.0], b"2"])
@pytest.mark.parametrize("calculate", [operator.add, operator.lt, operator.mul, operator.mod])
def test_what_is_no_number_has_no_order_and_no_sum(
    calculate: Callable[[Any, Any], Any], other: Any
) -> None:
    with pytest.raises(TypeError, match="Reward"):
        calculate(HIGH, other)


def test_equality_and_truth_are_those_of_an_object() -> None:
    """Rewards with one value may belong to different samples, and 0.0 is not a missing reward."""
    assert reward(2.0) == HIGH
    assert reward(2.0, truncated=True) != HIGH
    assert float(HIGH) == 2.0 != HIGH
    assert reward(0.0)
    assert len({HIGH, reward(2.0), LOW, reward(2.0, objectives={"a": 1.0})}) == 3


def test_every_result_has_a_hash() -> None:
    profile = ServerProfile(**PROFILE)
    assert {profile: 1}[ServerProfile(**PROFILE)] == 1
    assert hash(Diagnosis(url="u", findings=(), profile=profile, reward=HIGH))
    assert hash(ranking(["x", "y"], [LOW, HIGH])) == hash(ranking(["x", "y"], [LOW, HIGH]))


def test_a_row_of_a_table_is_flat_json() -> None:
    step = StepReward(value=0.5, logits=(0.0,), start=0, end=3)
    row = reward(0.5, steps=(step,), objectives={"a": 2.0}).row()
    assert (row["value"], row["objectives.a"], row["steps"]) == (0.5, 2.0, [0.5])
    assert (row["model"], row["head"], row["token_count"]) == ("m", "scalar", 1)
    assert json.loads(json.dumps(row)) == row


def test_a_table_of_whole_rewards_is_refused() -> None:
    """pandas would make a table of pairs, such as ``("value", 2.0)``."""
    for read in (list, dict, tuple):
        with pytest.raises(TypeError, match=r"reward\.row\(\)"):
            read(HIGH)


PROFILE: dict[str, Any] = {
    "url": "http://localhost:8000",
    "version": "0.32.0",
    "version_known": True,
    "model": "<b>m</b>",
    "root": "/" + "long/" * 50,
    "tokenizer_root": None,
    "max_model_len": 1024,
    "route": "pooling",
    "sends": "ids",
    "task": "classify",
    "switches": {"use_activation": False},
    "shape": "vector",
    "width": 1,
    "activation": "none",
    "activation_known_by": "request",
    "bos_token_id": 1,
    "recipe": None,
}
LONG = "a long answer " * 1000
FINDINGS = tuple(Finding(check="reach", verdict="ok", detail="<i>" + LONG) for _ in range(20))


@pytest.mark.parametrize(
    "result",
    [
        reward(2.0, critiques=(LONG,) * 8),
        reward(None, objectives={f"objective {n}": n / 3 for n in range(100)}),
        reward(0.5, steps=(StepReward(value=0.5, logits=(0.1, 0.2), start=0, end=3),) * 100),
        ranking([LONG] * 100, [reward(1.0)] * 100),
        ServerProfile(**PROFILE),
        Diagnosis(url="u", findings=FINDINGS, profile=ServerProfile(**PROFILE)),
        TokenizedSample(token_ids=tuple(range(5000)), max_model_len=None, bos_count=0),
    ],
)
def test_a_repr_is_a_line(result: Any) -> None:
    assert len(repr(result)) < 350
    assert "\n" not in repr(result)


def test_reprs_show_what_counts() -> None:
    assert repr(HIGH) == "Reward(value=2.0, token_count=1, model='m')"
    assert "objectives={'a': 1.0}" in repr(reward(None, objectives={"a": 1.0}))
    assert "truncated=True" in repr(reward(1.0, truncated=True))
    assert repr(ranking(["x", "y"], [LOW, HIGH])) == (
        "Ranking(best='y', best_index=1, order=(1, 0), rewards=(-1.5, 2.0))"
    )
    diagnosis = Diagnosis(url="u", findings=FINDINGS)
    assert repr(diagnosis) == "Diagnosis(url='u', status=0, findings='20 ok')"


def test_notebooks_show_tables_with_escaped_text() -> None:
    ranked: Ranking = ranking(["x", "y"], [LOW, HIGH])
    for result in (HIGH, ranked, ServerProfile(**PROFILE), Diagnosis(url="u", findings=FINDINGS)):
        html: str = result._repr_html_()  # pyright: ignore[reportPrivateUsage]
        assert html.startswith("<table>")
        assert "<b>" not in html
        assert "<i>" not in html
    assert "<td>1</td><td>2.0</td>" in ranked._repr_html_()  # pyright: ignore[reportPrivateUsage]


def test_a_table_of_a_ranking_is_refused() -> None:
    for read in (list, dict, tuple):
        with pytest.raises(TypeError, match=r"Write ranking\.order"):
            read(ranking(["x", "y"], [LOW, HIGH]))


def test_a_reward_is_not_made_of_a_number() -> None:
    """`statistics` makes one of a fraction, to name the type of its result; that gives a float."""
    for number in (5, 5.0, "5"):
        with pytest.raises(TypeError, match="positional"):
            Reward(number)  # type: ignore[misc]
