"""Whether values are raw: proven, said by the caller, or refused."""

from __future__ import annotations

import math
import struct
from random import Random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reward_client._base.activation import softmax
from reward_client._server.activation_check import (
    find_activation,
    reference_decides,
    unknown_activation,
)
from reward_client.errors import ActivationError, NotARewardError, ProtocolError

CURE = "Start the server with --the-flag."

Rows = list[list[float]]


def column(*values: float) -> Rows:
    return [[value] for value in values]


def bfloat16(value: float) -> float:
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return float(struct.unpack("<f", struct.pack("<I", (bits + 0x8000) & 0xFFFF0000))[0])


def rows(width: int, count: int = 8, scale: float = 3.0) -> Rows:
    random = Random(width)
    return [[random.gauss(0, scale) for _ in range(width)] for _ in range(count)]


def normalized(row: list[float]) -> list[float]:
    length = math.hypot(*row)
    return [value / length for value in row]


SQUASHED = column(0.1, 0.5, 0.9)
RAW = column(0.1, 0.5, 1.1)
RAW_LABELS = rows(5)
SOFTMAX = [softmax(row) for row in RAW_LABELS]
SOFTMAX_BFLOAT16 = [list(map(bfloat16, row)) for row in SOFTMAX]
SATURATED = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]
SIGMOIDS = [[0.9, 0.8], [0.2, 0.1], [0.5, 0.4]]  # of each label by itself
STATES = rows(256)
UNIT_STATES = list(map(normalized, STATES))
UNIT_STATES_BFLOAT16 = [list(map(bfloat16, row)) for row in UNIT_STATES]
SOFTMAX_STATES = list(map(softmax, STATES))
NOTHING = column(1.1e-42, -3e-43, 2e-42)
EVEN = [[0.5, 0.5]] * 2 + [[0.25, 0.25]]


@pytest.mark.parametrize(
    ("sent", "reads", "raw_by", "declared", "found"),
    [
        # The request, or the task, gives raw values.
        (SQUASHED, "values", "request", None, ("none", "request")),
        (SQUASHED, "values", "task", None, ("none", "task")),
        (SQUASHED, "values", "request", "sigmoid", ("none", "request")),
        (RAW_LABELS, "values", "request", None, ("none", "request")),
        (RAW_LABELS, "probabilities", "request", None, ("none", "request")),
        (SIGMOIDS, "probabilities", "request", None, ("none", "request")),
        (STATES, "states", "request", None, ("none", "request")),
        # A value outside [0, 1] proves it.
        (RAW, "values", None, None, ("none", "probe")),
        (column(0.5, -0.1, 0.2), "values", None, None, ("none", "probe")),
        (RAW, "values", None, "none", ("none", "caller")),
        (RAW, "probabilities", None, None, ("none", "probe")),
        (RAW_LABELS, "values", None, None, ("none", "probe")),
        (RAW_LABELS, "probabilities", None, None, ("none", "probe")),
        (STATES, "states", None, None, ("none", "probe")),
        # Nobody can tell, but the caller.
        (SQUASHED, "values", None, None, None),
        (SQUASHED, "probabilities", None, None, None),
        (SIGMOIDS, "values", None, None, None),
        (SIGMOIDS, "probabilities", None, None, None),
        (column(0.0, 1.0, 0.5), "values", None, None, None),
        (SQUASHED, "values", None, "none", ("none", "caller")),
        (SQUASHED, "values", None, "sigmoid", ("sigmoid", "caller")),
        (SQUASHED, "probabilities", None, "sigmoid", ("sigmoid", "caller")),
        # A softmax shows by its sums; who wants probabilities takes it.
        (SOFTMAX, "probabilities", None, None, ("softmax", "probe")),
        (SOFTMAX, "probabilities", None, "sigmoid", ("softmax", "probe")),
        (SOFTMAX, "probabilities", "request", None, ("softmax", "probe")),
        (SOFTMAX_BFLOAT16, "probabilities", None, None, ("softmax", "probe")),
        (SATURATED, "probabilities", None, None, ("softmax", "probe")),
        # A single input proves as much, if it differs from nothing.
        (column(-2.0), "values", None, None, ("none", "probe")),
        (column(0.3), "values", "request", None, ("none", "request")),
    ],
)
def test_found(
    sent: Rows, reads: Any, raw_by: Any, declared: Any, found: tuple[str, str] | None
) -> None:
    activation = find_activation(sent, reads, raw_by, declared, CURE)
    assert (activation and (activation.name, activation.known_by)) == found


@pytest.mark.parametrize(
    ("sent", "reads", "raw_by", "declared", "error", "hint"),
    [
        # 0.6.6 to 0.8.5: a softmax over one label.
        (column(*[1.0] * 8), "values", None, None, ActivationError, CURE),
        (column(*[1.0] * 8), "values", None, "none", ActivationError, "softmax over one label"),
        (column(*[1.0] * 8), "values", None, "sigmoid", ActivationError, "softmax over one label"),
        (column(*[1.0] * 8), "values", "request", None, ActivationError, "softmax over one label"),
        (column(*[1.0] * 8), "probabilities", None, None, ActivationError, "one label"),
        # A softmax over several, for a head that wants their values; said or not.
        (SOFTMAX, "values", None, None, ActivationError, CURE),
        (SOFTMAX, "values", "request", None, ActivationError, "softmax"),
        (SOFTMAX, "values", None, "none", ActivationError, "softmax"),
        (SOFTMAX_BFLOAT16, "values", None, "none", ActivationError, "softmax"),
        (SOFTMAX_STATES, "states", None, None, ActivationError, "softmax"),
        (SOFTMAX_STATES, "states", "request", None, ActivationError, "softmax"),
        # A sigmoid that cannot be.
        (RAW, "values", None, "sigmoid", ActivationError, "outside"),
        (RAW_LABELS, "probabilities", None, "sigmoid", ActivationError, "outside"),
        # An embedding of width 1, and wider ones: a Normalize module behind the head.
        (column(1.0, -1.0, 1.0), "values", "task", None, NotARewardError, "Normalize"),
        (column(1.0, 1.0, 1.0), "values", "task", None, NotARewardError, "Normalize"),
        (column(-1.0, -1.0), "values", "request", None, NotARewardError, "Normalize"),
        (column(1.0, -1.0, 1.0), "values", None, None, NotARewardError, "Normalize"),
        (column(1.0, -1.0, 1.0), "values", None, "none", NotARewardError, "Normalize"),
        (column(1.0, -1.0, 1.0), "values", None, "sigmoid", NotARewardError, "Normalize"),
        (list(map(normalized, rows(5))), "values", "task", None, NotARewardError, "Normalize"),
        (list(map(normalized, rows(2))), "probabilities", "task", None, NotARewardError, "length"),
        # Hidden states of length 1, exact or rounded to bfloat16.
        (UNIT_STATES, "states", None, None, ActivationError, CURE),
        (UNIT_STATES, "states", "request", None, ActivationError, "normalizes"),
        (UNIT_STATES_BFLOAT16, "states", None, None, ActivationError, "normalizes"),
        # Weights that were not loaded.
        (NOTHING, "values", "request", None, NotARewardError, "not loaded"),
        (column(0.0, 0.0), "values", "request", None, NotARewardError, "not loaded"),
        ([[1e-42, 2e-42], [0.0, 1e-40]], "values", None, "none", NotARewardError, "not loaded"),
        (EVEN, "values", "request", None, NotARewardError, "not loaded"),
        (EVEN, "probabilities", None, None, NotARewardError, "not loaded"),
        ([[0.0] * 256] * 8, "states", "request", None, NotARewardError, "not loaded"),
        # The same for every input.
        (column(0.5, 0.5, 0.5), "values", None, "sigmoid", NotARewardError, "0.5"),
        (column(-3.25, -3.25), "values", "request", None, NotARewardError, "-3.25"),
        ([[1.5, 2.5]] * 3, "probabilities", "request", None, NotARewardError, "1.5, 2.5"),
        ([STATES[0]] * 8, "states", "request", None, NotARewardError, "every input"),
    ],
)
def test_refused(
    sent: Rows, reads: Any, raw_by: Any, declared: Any, error: type[ProtocolError], hint: str
) -> None:
    with pytest.raises(error) as caught:
        find_activation(sent, reads, raw_by, declared, CURE)
    assert type(caught.value) is error
    assert hint in str(caught.value)


def test_a_message_shows_no_thousands_of_numbers() -> None:
    for sent in ([STATES[0]] * 8, UNIT_STATES, [[0.0] * 4096] * 8):
        with pytest.raises(ProtocolError) as caught:
            find_activation(sent, "states", None, None, CURE)
        assert len(str(caught.value)) < 400


def test_one_row_that_does_not_add_up_is_no_softmax() -> None:
    sent = [*SOFTMAX[:-1], [0.1, 0.1, 0.1, 0.1, 0.2]]
    assert find_activation(sent, "probabilities", None, None, CURE) is None
    assert find_activation(sent, "values", None, None, CURE) is None


def test_what_adds_up_to_one_otherwise_is_no_softmax() -> None:
    beyond = [[2.0, -1.0], [-0.5, 1.5], [3.25, -2.25]]
    nearly = [[row[0] + 0.01, *row[1:]] for row in SOFTMAX]
    for reads in ("values", "probabilities"):
        found = find_activation(beyond, reads, None, None, CURE)  # type: ignore[arg-type]
        assert found is not None
        assert found.name == "none"
        assert find_activation(nearly, reads, None, None, CURE) is None  # type: ignore[arg-type]


def test_vectors_of_nearly_length_one_are_not_normalized() -> None:
    sent = [[value * 1.01 for value in row] for row in UNIT_STATES]
    found = find_activation(sent, "states", None, None, CURE)
    assert found is not None
    assert found.name == "none"


@given(st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=2, unique_by=tuple))
def test_any_softmax_is_seen_whatever_is_said(raw: Rows) -> None:
    for cast in (float, bfloat16):
        sent = [[cast(value) for value in softmax(row)] for row in raw]
        assume(len(set(map(tuple, sent))) > 1 and any(len(set(row)) > 1 for row in sent))
        found = find_activation(sent, "probabilities", None, None, CURE)
        assert found is not None
        assert found.name == "softmax"
        for raw_by in (None, "request"):
            with pytest.raises(ActivationError, match="softmax"):
                find_activation(sent, "values", raw_by, "none", CURE)  # type: ignore[arg-type]


@pytest.mark.parametrize(("cast", "bits"), [(float, 24), (bfloat16, 8)])
def test_numbers_of_a_half_precision_are_known_as_such(cast: Any, bits: int) -> None:
    """A sigmoid that was rounded to bfloat16 can be inverted up to about 2, not up to 13."""
    sent = [[cast(1 / (1 + math.exp(-raw)))] for raw in (-2.1, 0.3, 1.7, 4.9)]
    squashed = find_activation(sent, "values", None, "sigmoid", CURE)
    assert squashed is not None
    assert squashed.bits == bits
    assert squashed.raw(sent[2][0]) == pytest.approx(1.7, abs=0.02)
    if bits == 24:
        assert squashed.raw(sent[3][0]) == pytest.approx(4.9, abs=1e-9)
    else:
        with pytest.raises(ActivationError, match="8 significant bits"):
            squashed.raw(sent[3][0])


def test_what_to_do_where_nobody_knows() -> None:
    message = str(unknown_activation(CURE, asked=False))
    assert "Start the server with --the-flag, or say" in message
    assert 'server_activation="none" or "sigmoid"' in message
    assert "makes no difference" in str(unknown_activation(CURE, asked=True))


# By a value that is known


@given(st.floats(-12, 12), st.floats(0.001, 0.2), st.floats(-0.99, 0.99))
def test_a_reference_tells_raw_from_squashed(expected: float, tolerance: float, off: float) -> None:
    raw = expected + off * tolerance
    squashed = 1 / (1 + math.exp(-raw))
    # Where a raw value would look like a squashed one, both readings agree, and neither is taken.
    assume(abs(raw - squashed) > 3 * tolerance)
    as_it_is = reference_decides(raw, expected, tolerance)
    through_sigmoid = reference_decides(squashed, expected, tolerance)
    assert as_it_is is not None
    assert through_sigmoid is not None
    assert (as_it_is.name, as_it_is.known_by) == ("none", "reference")
    assert (through_sigmoid.name, through_sigmoid.known_by) == ("sigmoid", "reference")


@given(st.floats(0.01, 1.0))
def test_a_reference_close_to_the_fixed_point_decides_nothing(tolerance: float) -> None:
    fixed_point = 0.6590460684074066  # sigmoid(x) = x
    assert reference_decides(fixed_point, fixed_point, tolerance) is None


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.001, 0.2))
def test_a_reference_of_another_model_decides_nothing(
    sent: float, expected: float, tolerance: float
) -> None:
    assume(abs(sent - expected) > tolerance)
    if 0 < sent < 1:
        assume(abs(math.log(sent / (1 - sent)) - expected) > tolerance + 1e-9)
    assert reference_decides(sent, expected, tolerance) is None


@pytest.mark.parametrize(
    ("sent", "expected", "found"),
    [
        (0.67, 0.7676, None),  # InternLM's reward squashed is 0.683
        (0.6831, 0.7676, "sigmoid"),
        (0.7676, 0.7676, "none"),
        (1.0, 23.0, None),  # saturated: any high reward squashes to it
        (0.0, -30.0, None),
        (-3.28, -3.28125, "none"),
        (0.0362, -3.28125, "sigmoid"),
    ],
)
def test_published_references(sent: float, expected: float, found: str | None) -> None:
    activation = reference_decides(sent, expected, 0.02)
    assert (activation and activation.name) == found


def test_a_bfloat16_reference_leaves_larger_values_undecided() -> None:
    activation = reference_decides(bfloat16(0.6831), 0.7676, 0.02)
    assert activation is not None
    assert activation.bits == 8
