from math import isclose, sqrt

import pytest

from reward_client._base.statistics import wilson_interval

COUNTS = [(successes, total) for total in (1, 2, 10, 39, 100_000) for successes in (1, total // 2)]


@pytest.mark.parametrize(("successes", "total"), COUNTS)
def test_bounds_solve_the_score_equation(successes: int, total: int) -> None:
    """A bound is the proportion that lies 1.96 of its own standard errors from the share."""
    share = successes / total
    for bound in wilson_interval(successes, total):
        if 0 < bound < 1:
            error = sqrt(bound * (1 - bound) / total)
            assert isclose(abs(share - bound), 1.959963984540054 * error, rel_tol=1e-9)


def test_interval_has_a_width_at_both_ends() -> None:
    low, high = wilson_interval(0, 10)
    assert (low, round(high, 7)) == (0.0, 0.2775328)  # z² / (10 + z²)
    low, high = wilson_interval(10, 10)
    assert (round(low, 7), high) == (0.7224672, 1.0)


def test_interval_holds_the_share() -> None:
    for total in range(1, 40):
        for successes in range(total + 1):
            low, high = wilson_interval(successes, total)
            assert 0 <= low <= successes / total <= high <= 1
