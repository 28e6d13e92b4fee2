"""Edges are round, few, and hold the values."""

from __future__ import annotations

import math
import random

import pytest

from reward_client._base.histogram import bin_edges, multiples, round_step, shares


@pytest.mark.parametrize(
    ("span", "most", "step"),
    [(1, 10, 0.1), (0.3, 3, 0.1), (9.9, 10, 1), (10.1, 10, 2), (24, 10, 2.5), (5e6, 10, 5e5)],
)
def test_round_steps(span: float, most: int, step: float) -> None:
    assert round_step(span, most) == pytest.approx(step, rel=1e-12)


def test_multiples_around_a_range() -> None:
    assert multiples(-1.2, 2.0, 0.5) == [-1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2]
    assert multiples(2.0, 2.0, 1.0) == [2, 3]


def test_each_value_is_in_one_bin() -> None:
    rng = random.Random(5)
    for size in (2, 3, 10, 1000):
        for scale in (1e-9, 1.0, 1e9):
            for most in (4, 10, 40):
                ranked = sorted(rng.gauss(3, 1) * scale for _ in range(size))
                edges = bin_edges(ranked, most)
                assert 1 <= len(edges) - 1 <= most - 2
                assert edges[0] <= ranked[0]
                assert ranked[-1] <= edges[-1]
                assert math.fsum(shares(ranked, edges)) == pytest.approx(1, abs=1e-12)


def test_shares_by_hand() -> None:
    assert shares([0, 0.5, 1, 1, 2], [0, 1, 2]) == [0.4, 0.6]  # the last bin holds its end
    assert shares([0, 0.5, 1, 1, 2], [1, 1.5]) == [0.4]


def test_far_outliers_do_not_hide_the_rest() -> None:
    ranked = sorted([*(n / 100 for n in range(1000)), 1e9])
    edges = bin_edges(ranked, 12)
    assert (edges[0], edges[-1]) == (0.0, 10.0)


@pytest.mark.parametrize(
    "ranked",
    [
        [-0.3, 1e-300],
        [0.1, 0.2, 0.30000000000000004],
        [-1.11, -0.9999999999999999],
        [1e9, 1e9 + 2],
        [-1e300, 1e300],
        [0.0, 1e-200],
    ],
)
def test_rounding_leaves_no_value_out(ranked: list[float]) -> None:
    for most in (5, 10, 42):
        assert sum(shares(ranked, bin_edges(ranked, most))) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("ranked", [[1e9, 1e9 + 2e-7], [0.1, 0.1 + 1e-16], [0.0, 5e-324]])
def test_values_that_differ_in_their_last_digits_only(ranked: list[float]) -> None:
    assert bin_edges(ranked, 10) == []


def test_equal_values_have_no_bins() -> None:
    assert bin_edges([], 10) == bin_edges([3.0] * 5, 10) == []
