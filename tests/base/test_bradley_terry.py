"""Strengths by Bradley and Terry, against hand-computed ones and the equations that define them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client._base.bradley_terry import PRIOR_DEVIATION, PairResult, fit

PRECISION = 1 / PRIOR_DEVIATION**2
QUANTILE = 1.959963984540054


def test_two_by_hand() -> None:
    """For strengths x and -x the derivative is wins - trials · sigmoid(2 x) - precision · x."""
    x = math.log(3) / 2  # sigmoid(2 x) is 3/4
    wins = 4 * 0.75 + PRECISION * x
    one, other = fit(2, [PairResult(0, 1, wins, 4)])
    assert one.value == pytest.approx(x, abs=1e-12)
    assert other.value == pytest.approx(-x, abs=1e-12)
    # Information 4 · 3/4 · 1/4 along (1, -1), whose eigenvalue is twice as large.
    reach = QUANTILE * math.sqrt(0.5 / (2 * 0.75 + PRECISION))
    assert (one.low, one.high) == pytest.approx((x - reach, x + reach), abs=1e-12)


def test_three_equals_by_hand() -> None:
    """The information of a full round of ties has the eigenvalue 3 · trials / 4."""
    fitted = fit(3, [PairResult(a, b, 3.0, 6) for a, b in ((0, 1), (0, 2), (1, 2))])
    reach = QUANTILE * math.sqrt(2 / 3 / (3 * 6 / 4 + PRECISION))
    for each in fitted:
        assert each == pytest.approx((0.0, -reach, reach), abs=1e-12)


def test_nobody_to_compare() -> None:
    assert fit(0, []) == []
    (alone,) = fit(1, [])
    assert alone == pytest.approx((0.0, 0.0, 0.0), abs=1e-7)


def test_more_results_make_narrower_intervals() -> None:
    widths = [
        fit(2, [PairResult(0, 1, 0.7 * trials, trials)])[0].high
        - fit(2, [PairResult(0, 1, 0.7 * trials, trials)])[0].low
        for trials in (1, 10, 100, 10_000)
    ]
    assert widths == sorted(widths, reverse=True)
    # Without the prior the variance of a half difference is 1 / (4 trials p (1 - p)).
    assert widths[-1] == pytest.approx(2 * QUANTILE * math.sqrt(1 / (4e4 * 0.21)), rel=1e-3)


@st.composite
def results(draw: Any) -> tuple[int, list[PairResult]]:
    size = draw(st.integers(2, 7))
    places = st.integers(0, size - 1)
    pairs = draw(st.lists(st.tuples(places, places).filter(lambda p: p[0] != p[1]), max_size=20))
    found = []
    for first, second in pairs:
        trials = draw(st.integers(1, 50))
        share = draw(st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0, 1))
        found.append(PairResult(first, second, share * trials, trials))
    return size, found


@given(results())
def test_the_equations_hold(given_results: tuple[int, list[PairResult]]) -> None:
    """The derivative is 0 at the strengths, and the intervals are of the inverse information."""
    size, found = given_results
    fitted = fit(size, found)
    s = np.array([each.value for each in fitted])
    gradient, information = -PRECISION * s, PRECISION * np.eye(size)
    for first, second, wins, trials in found:
        p = 1 / (1 + math.exp(s[second] - s[first]))
        unit = np.eye(size)[first] - np.eye(size)[second]
        gradient += (wins - trials * p) * unit
        information += trials * p * (1 - p) * np.outer(unit, unit)
    assert np.abs(gradient).max() < 1e-8
    assert abs(s.sum()) < 1e-8
    centre = np.eye(size) - 1 / size
    variances = np.diag(centre @ np.linalg.inv(information) @ centre)
    halves = np.array([(each.high - each.low) / 2 for each in fitted])
    np.testing.assert_allclose(halves, QUANTILE * np.sqrt(variances), rtol=1e-6)


def test_who_never_lost_is_finite() -> None:
    always = [PairResult(a, b, 100.0, 100) for a in range(16) for b in range(a + 1, 16)]
    values = [each.value for each in fit(16, always)]
    assert values == sorted(values, reverse=True)
    assert all(math.isfinite(number) for each in fit(16, always) for number in each)


def test_strengths_that_made_the_results_come_back() -> None:
    true = np.array([1.0, 0.5, -0.25, -1.25])
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    found = [PairResult(a, b, 1e6 / (1 + math.exp(true[b] - true[a])), 1_000_000) for a, b in pairs]
    np.testing.assert_allclose([each.value for each in fit(4, found)], true, atol=1e-6)
