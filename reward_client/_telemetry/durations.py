"""Quantiles of durations in bounded memory."""

from __future__ import annotations

from collections import Counter
from math import ceil, log

from reward_client._telemetry.stats import Latency

# DDSketch: Masson, Rim and Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
# Relative-Error Guarantees", VLDB 2019, section 2. Bucket i holds the durations in
# (_GROWTH**(i - 1), _GROWTH**i]. Its estimate lies within RELATIVE_ERROR of all of them.
RELATIVE_ERROR = 0.01
_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_SHORTEST, _LONGEST = 1e-6, 1e5
"""The range of the buckets in seconds: at most 1,268 of them."""
_PER_LOG = 1 / log(_GROWTH)


class Durations:
    """Counts durations in buckets whose limits grow by a constant factor."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._longest = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration in seconds."""
        bounded = seconds
        if not _SHORTEST <= seconds <= _LONGEST:
            bounded = _SHORTEST if seconds < _SHORTEST else _LONGEST
        self._buckets[ceil(log(bounded) * _PER_LOG)] += 1
        if seconds > self._longest:
            self._longest = seconds

    def include(self, other: Durations) -> None:
        """Count all durations of another object too."""
        self._buckets += other._buckets
        self._longest = max(self._longest, other._longest)

    def latency(self) -> Latency | None:
        """Return the quantiles; None without a duration."""
        if not self._buckets:
            return None
        p50, p90, p99 = map(self._quantile, (50, 90, 99))
        return Latency(p50=p50, p90=p90, p99=p99, max=self._longest)

    def _quantile(self, percent: int) -> float:
        """Return the shortest duration that a part of all durations does not exceed."""
        rank = -(-percent * self._buckets.total() // 100)
        for bucket, count in sorted(self._buckets.items()):
            rank -= count
            if rank <= 0:
                return min(2 * _GROWTH**bucket / (_GROWTH + 1), self._longest)
        return self._longest
