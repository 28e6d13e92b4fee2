"""Whether values are raw: proven, said by the caller, or refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client.errors import ActivationError, NotARewardError
from reward_client.server.activation import Activation, find_activation

FLAG = "--the-flag"
SQUASHED = [0.1, 0.5, 0.9]
RAW = [0.1, 0.5, 1.1]


@pytest.mark.parametrize(
    ("values", "raw_by", "declared", "found"),
    [
        (SQUASHED, "request", None, ("none", "request")),
        (SQUASHED, "task", None, ("none", "task")),
        (RAW, None, None, ("none", "probe")),
        ([0.5, -0.1], None, None, ("none", "probe")),
        (SQUASHED, None, "none", ("none", "caller")),
        (SQUASHED, None, "sigmoid", ("sigmoid", "caller")),
        (RAW, None, "none", ("none", "caller")),
    ],
)
def test_found(values: list[float], raw_by: Any, declared: Any, found: tuple[str, str]) -> None:
    activation = find_activation(values, raw_by, declared, FLAG)
    assert (activation.name, activation.known_by) == found


@pytest.mark.parametrize(
    ("values", "raw_by", "declared", "hint"),
    [
        ([1.0] * 8, None, None, FLAG),
        ([1.0] * 8, None, "none", "softmax over one label"),
        ([1.0] * 8, None, "sigmoid", "softmax over one label"),
        ([1.0] * 8, "request", None, "softmax over one label"),
        (SQUASHED, None, None, 'server_activation="none" or "sigmoid"'),
        (RAW, None, "sigmoid", "outside"),
    ],
)
def test_refused(values: list[float], raw_by: Any, declared: Any, hint: str) -> None:
    with pytest.raises(ActivationError) as caught:
        find_activation(values, raw_by, declared, FLAG)
    assert hint in str(caught.value)


def test_a_normalized_embedding_of_width_one_is_no_reward() -> None:
    for values in ([1.0, -1.0, 1.0], [1.0, 1.0, 1.0]):
        with pytest.raises(NotARewardError, match="Normalize"):
            find_activation(values, "task", None, FLAG)
    for declared in (None, "none", "sigmoid"):
        with pytest.raises(NotARewardError, match="Normalize"):
            find_activation([1.0, -1.0, 1.0], None, declared, FLAG)  # type: ignore[arg-type]


@given(st.floats(-7, 7))
def test_a_sigmoid_is_inverted(raw: float) -> None:
    # Within 7, float32 keeps sigmoid(raw) to 6e-8, which is 7e-5 of raw at its ends.
    import struct

    (sent,) = struct.unpack("f", struct.pack("f", 1 / (1 + math.exp(-raw))))
    assert Activation("sigmoid", "caller").raw(sent) == pytest.approx(raw, abs=1e-4)
    assert Activation("none", "probe").raw(raw) == raw


@pytest.mark.parametrize("saturated", [0.0, 1.0, -0.5, 1.5])
def test_a_saturated_sigmoid_cannot_be_inverted(saturated: float) -> None:
    with pytest.raises(ActivationError, match="saturated"):
        Activation("sigmoid", "caller").raw(saturated)
