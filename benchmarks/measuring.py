"""One contestant's run, in the process that it has for itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.figures import Run
from benchmarks.ways import Samples, Strategy, Target


def timed(
    way: Strategy,
    target: Target,
    warm_up: Samples,
    samples: Samples,
    values: Sequence[float],
    tolerance: float,
) -> Run:
    """Rate and CPU once connections are open and the server is known.

    Raises:
        ValueError: A value is another than it should be.
    """
    with way(target) as score:
        score(warm_up)
        started, cpu = time.perf_counter(), time.process_time()
        found = score(samples)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    check(found, values, tolerance)
    return {"per_second": len(samples) / seconds, "cpu_us": cpu / len(samples) * 1e6}


def check(found: Sequence[float], values: Sequence[float], tolerance: float) -> None:
    """Whether all values are there, in their order.

    Raises:
        ValueError: They are not.
    """
    farthest = max(abs(one - other) for one, other in zip(found, values, strict=True))
    if not farthest <= tolerance:
        raise ValueError(f"A value is off by {farthest}.")
