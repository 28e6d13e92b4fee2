"""A constant that an engine adds to all rewards, found by comparing the same samples. Pure."""

from __future__ import annotations

from collections.abc import Sequence

_LEAST = 1e-4
"""Float32 rounds a reward by less."""
_SPREAD = 0.1
"""By how much the differences of samples may vary, as a share of their mean."""


def constant_offset(
    one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]
) -> float | None:
    """Return the constant between two servers' rows for the same samples; None if there is none.

    Args:
        one: A row of values for each sample.
        other: The rows of the other server, or of the same one at another time.
    """
    for mine, theirs in zip(zip(*one, strict=True), zip(*other, strict=True), strict=True):
        differences = [here - there for here, there in zip(mine, theirs, strict=True)]
        mean: float = sum(differences) / len(differences)
        spread = max(differences) - min(differences)
        if abs(mean) > _LEAST and spread <= _SPREAD * abs(mean):
            return mean
    return None
