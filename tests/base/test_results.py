"""What a reward says of itself, and what it refuses to say."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest

from reward_client import InputError, Provenance, Reward, StepReward
from reward_client._base.results import ranking

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
    assert f"value={value!r}" in repr(given)
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
