"""Bins with round edges, for the bars of a histogram."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
_TAIL = 0.01
_FAR = 2.0
"""Tails longer than the middle by this factor are left out of the edges."""

_SAME = 1e-9
"""Values with a smaller relative difference count as equal: edges between them have no digits."""
_TINY = 1e-290


def round_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 2.5, 5 · 10ⁿ of which at most so many fit into the span."""
    exact = span / most
    power = 10.0 ** math.floor(math.log10(exact))
    # Rounding: 0.3 / 3 is less than 0.1.
    return power * next(step for step in _ROUND if step * power >= exact * (1 - 1e-12))


def multiples(low: float, high: float, step: float) -> list[float]:
    """Return the multiples of a step from the last one below a range to the first one above."""
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def bin_edges(ranked: Sequence[float], most: int) -> list[float]:
    """Return the edges of at most so many bins of equal width.

    Far outliers, which would leave all other values in one bin, lie outside of the edges.

    Args:
        ranked: The values in order.
        most: The largest number of bins, at least 3.

    Returns:
        An empty list if all values are equal, or nearly.
    """
    if not ranked:
        return []
    low, high = ranked[0], ranked[-1]
    if high - low <= max(_SAME * max(abs(low), abs(high)), _TINY):
        return []
    cut = int(_TAIL * len(ranked))
    middle = ranked[-1 - cut] - ranked[cut]
    if 0 < middle * (1 + _FAR) < high - low:
        low, high = ranked[cut], ranked[-1 - cut]
    choices = (
        multiples(low, high, round_step(high - low, bins)) for bins in range(most - 2, 0, -1)
    )
    edges = next(edges for edges in choices if len(edges) < most)
    # Rounding must not leave out the ends.
    return [min(low, edges[0]), *edges[1:-1], max(high, edges[-1])]


def shares(ranked: Sequence[float], edges: Sequence[float]) -> list[float]:
    """Return the part of all values in each bin. A bin holds its lower edge; the last one both."""
    starts = [bisect_left(ranked, edge) for edge in edges[:-1]]
    ends = [*starts[1:], bisect_right(ranked, edges[-1])]
    return [(end - start) / len(ranked) for start, end in zip(starts, ends, strict=True)]
