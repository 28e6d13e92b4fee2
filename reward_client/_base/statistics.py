"""Intervals of proportions."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


def wilson_interval(successes: float, total: float) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson, JASA 22, 1927, p. 209).

    Unlike the normal interval, it stays within 0 and 1, and has a width at both ends.

    Args:
        successes: The number of successes. Ties may count one half.
        total: The number of trials; a part of one may count less.

    Returns:
        The lower and the upper bound.
    """
    share = successes / total
    spread = Z_95 * Z_95 / total
    middle = share + spread / 2
    reach = Z_95 * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    low, high = (middle - reach) / (1 + spread), (middle + reach) / (1 + spread)
    # Rounding must not exclude the proportion itself.
    return min(share, max(0.0, low)), max(share, min(1.0, high))
