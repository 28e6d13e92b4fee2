"""Raw values out of squashed ones: right to what the numbers can tell, or refused."""

from __future__ import annotations

import math
import struct
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client._base.activation import Activation, sigmoid, significant_bits, softmax
from reward_client.errors import ActivationError

ANY = st.floats(allow_nan=False, allow_infinity=False)
HALF_STEP = {24: 2.0**-25, 11: 2.0**-12, 8: 2.0**-9}


def exact_sigmoid(value: float) -> Decimal:
    with localcontext(prec=60):
        return 1 / (1 + (-Decimal(value)).exp())


def as_float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def as_float16(value: float) -> float:
    return float(struct.unpack("<e", struct.pack("<e", value))[0])


def as_bfloat16(value: float) -> float:
    """To the nearest, as torch does; ties do not come up."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    (rounded,) = struct.unpack("<f", struct.pack("<I", (bits + 0x8000) & 0xFFFF0000))
    return float(rounded)


ROUND = {24: as_float32, 11: as_float16, 8: as_bfloat16}


@given(st.floats(-700, 700))
def test_sigmoid_is_exact_to_the_last_digits(value: float) -> None:
    """Far below 0 too: a product of steps' probabilities multiplies them."""
    assert sigmoid(value) == pytest.approx(float(exact_sigmoid(value)), rel=1e-14, abs=0)


@given(ANY)
def test_sigmoid_of_any_number(value: float) -> None:
    assert 0 <= sigmoid(value) <= 1
    assert sigmoid(value) + sigmoid(-value) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    ("value", "expected"), [(1e308, 1.0), (-1e308, 0.0), (0.0, 0.5), (-0.0, 0.5)]
)
def test_sigmoid_at_the_extremes(value: float, expected: float) -> None:
    assert sigmoid(value) == expected


@given(st.lists(ANY, min_size=1, max_size=64))
def test_softmax_is_a_distribution_in_the_order_of_the_values(values: list[float]) -> None:
    probabilities = softmax(values)
    assert math.fsum(probabilities) == pytest.approx(1, abs=1e-14)
    ordered = sorted(zip(values, probabilities, strict=True))
    assert [probability for _, probability in ordered] == sorted(probabilities)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=8), st.floats(-1e3, 1e3))
def test_softmax_by_its_definition(values: list[float], shift: float) -> None:
    total = sum(math.exp(value) for value in values)
    expected = [math.exp(value) / total for value in values]
    assert softmax(values) == pytest.approx(expected, rel=1e-13)
    # Rounding of the shifted values, up to 1e3, moves an exponent by 1e-13.
    assert softmax([value + shift for value in values]) == pytest.approx(expected, rel=1e-12)


@given(st.floats(-30, 30), st.floats(-30, 30))
def test_the_softmax_of_two_is_the_sigmoid_of_their_difference(bad: float, good: float) -> None:
    assert softmax([bad, good])[1] == pytest.approx(sigmoid(good - bad), rel=1e-13)


def test_softmax_at_the_extremes() -> None:
    assert softmax([1e308, -1e308]) == [1.0, 0.0]
    assert softmax([-1e308, -1e308]) == [0.5, 0.5]
    assert softmax([-1e308]) == [1.0]


@given(ANY)
def test_raw_values_stay_as_they_are(value: float) -> None:
    assert Activation("none", "request").raw(value) == value


@given(ANY)
def test_behind_a_softmax_there_is_no_raw_value(value: float) -> None:
    with pytest.raises(ActivationError, match="softmax"):
        Activation("softmax", "probe").raw(value)


@pytest.mark.parametrize(("bits", "highest"), [(24, 13.3), (11, 4.3), (8, 2.0)])
@given(data=st.data())
def test_a_sigmoid_is_inverted_to_within_a_hundredth_or_two(
    bits: int, highest: float, data: Any
) -> None:
    """From numbers rounded as a server rounds them; positive rewards squeeze them at 1."""
    raw = data.draw(st.floats(-13.0, highest))
    sent = ROUND[bits](sigmoid(raw))
    assert Activation("sigmoid", "caller", bits).raw(sent) == pytest.approx(raw, abs=0.021)


@given(st.floats(-7, 7))
def test_an_inverted_float32(raw: float) -> None:
    # Within 7, float32 keeps sigmoid(raw) to 6e-8, which is 7e-5 of raw at its ends.
    sent = as_float32(sigmoid(raw))
    assert Activation("sigmoid", "caller").raw(sent) == pytest.approx(raw, abs=1e-4)


@pytest.mark.parametrize("bits", HALF_STEP)
@given(data=st.data())
def test_a_number_that_stands_for_other_rewards_too_is_refused(bits: int, data: Any) -> None:
    raw = data.draw(st.floats(0, 40))
    sent = ROUND[bits](sigmoid(raw))
    try:
        recovered = Activation("sigmoid", "caller", bits).raw(sent)
    except ActivationError:
        # Rightly so: half a step of such numbers is more than a hundredth of a reward.
        assert HALF_STEP[bits] / (sent * (1 - sent) or 1e-9) > 0.01
        return
    assert recovered == pytest.approx(raw, abs=0.021)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, 1.5, 1 - 2.0**-24, 1e308, -1e308])
def test_a_saturated_sigmoid_cannot_be_inverted(value: float) -> None:
    with pytest.raises(ActivationError, match="saturated"):
        Activation("sigmoid", "caller").raw(value)


def test_the_smallest_float16_stand_for_several_rewards() -> None:
    sent = as_float16(sigmoid(-16.0))
    assert sent == 2 * 2.0**-24
    with pytest.raises(ActivationError, match="saturated"):
        Activation("sigmoid", "caller", 11).raw(sent)
    assert Activation("sigmoid", "caller").raw(as_float32(sigmoid(-16.0))) == pytest.approx(-16)


@pytest.mark.parametrize("bits", ROUND)
@given(values=st.lists(st.floats(0.001, 0.999), min_size=8, max_size=30, unique=True))
def test_how_many_bits_numbers_have(bits: int, values: list[float]) -> None:
    sent = [ROUND[bits](value) for value in values]
    assert significant_bits(sent) <= bits
    assert significant_bits([*sent, as_float32(1 / 3)]) == 24
    assert significant_bits([*sent, as_float16(1 / 3)]) == max(bits, 11)
    assert significant_bits([*sent, as_bfloat16(1 / 3)]) <= bits
