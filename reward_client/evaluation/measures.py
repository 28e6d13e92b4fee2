"""Measures: the numbers in a benchmark's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reward_client._base.statistics import wilson_interval
from reward_client.evaluation.units import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A number in the table of a benchmark.

    Attributes:
        path: The names of its part of the benchmark, from the widest one: ``("Chat Hard",
            "mt-bench-hard")``. The first measure of a table, the headline, has one name.
        value: The number, from 0 to 1 unless the benchmark says otherwise.
        count: The number of pairs, prompts, solutions or steps behind it.
        interval: The 95 % score interval of a share (Wilson, JASA 22, 1927); None for numbers that
            are no plain share of independent trials.
    """

    path: tuple[str, ...]
    value: float
    count: int
    interval: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """The last name of the path."""
        return self.path[-1]


def accuracy(path: tuple[str, ...], share: Share) -> Measure:
    """Return the share of successes, with its interval."""
    interval = wilson_interval(share.points, int(share.count)) if share.count else None
    return Measure(path=path, value=share.value, count=int(share.count), interval=interval)


def plain(path: tuple[str, ...], share: Share) -> Measure:
    """Return a mean without an interval: its trials depend on each other, or are no successes."""
    return Measure(path=path, value=share.value, count=int(share.count))


def mean(path: tuple[str, ...], parts: Sequence[Measure], weights: Sequence[float] = ()) -> Measure:
    """Return the weighted mean of other measures; equal weights by default."""
    weights = weights or [1.0] * len(parts)
    total = sum(part.value * weight for part, weight in zip(parts, weights, strict=True))
    return Measure(path=path, value=total / sum(weights), count=sum(part.count for part in parts))
