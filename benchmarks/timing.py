"""The timing of one competitor, in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.baselines import Competitor, Samples, Target
from benchmarks.results import Run


def timed(
    competitor: Competitor,
    target: Target,
    warm_up: Samples,
    samples: Samples,
    values: Sequence[float],
    tolerance: float,
) -> Run:
    """Measure rate and CPU after a warm-up, which opens connections and finds the route.

    Raises:
        ValueError: If a value differs from its right one.
    """
    with competitor(target) as score:
        score(warm_up)
        started, cpu = time.perf_counter(), time.process_time()
        found = score(samples)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    check(found, values, tolerance)
    return {"per_second": len(samples) / seconds, "cpu_us": cpu / len(samples) * 1e6}


def check(found: Sequence[float], values: Sequence[float], tolerance: float) -> None:
    """Compare all values in their order with the right ones.

    Raises:
        ValueError: If a value is missing, or differs by more than the tolerance.
    """
    largest = max(abs(one - other) for one, other in zip(found, values, strict=True))
    if not largest <= tolerance:
        raise ValueError(f"Cannot use the run: a value is off by {largest}.")
