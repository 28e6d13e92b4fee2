"""Quantiles from buckets, against those of the sorted durations."""

from __future__ import annotations

import random

import pytest

from reward_client._telemetry.durations import RELATIVE_ERROR, Durations


def exact(durations: list[float], percent: int) -> float:
    rank = -(-percent * len(durations) // 100)
    return sorted(durations)[rank - 1]


def counted(durations: list[float]) -> Durations:
    counts = Durations()
    for seconds in durations:
        counts.add(seconds)
    return counts


def test_nothing_has_no_quantiles() -> None:
    assert Durations().latency() is None


def test_one_duration_is_all_quantiles() -> None:
    latency = counted([0.25]).latency()
    assert latency is not None
    assert latency.max == 0.25
    for quantile in (latency.p50, latency.p90, latency.p99):
        assert quantile == pytest.approx(0.25, rel=RELATIVE_ERROR)
        assert quantile <= latency.max


@pytest.mark.parametrize("count", [1, 2, 10, 99, 100, 101, 1000])
@pytest.mark.parametrize("seed", range(5))
def test_the_relative_error_is_bounded(count: int, seed: int) -> None:
    rng = random.Random(seed)
    durations = [10 ** rng.uniform(-6, 5) for _ in range(count)]
    latency = counted(durations).latency()
    assert latency is not None
    assert latency.max == max(durations)
    for percent, quantile in ((50, latency.p50), (90, latency.p90), (99, latency.p99)):
        # The rounding of the logarithm may move a duration that lies on the limit of a bucket.
        assert quantile == pytest.approx(exact(durations, percent), rel=RELATIVE_ERROR + 1e-12)


def test_quantiles_of_a_hundred_durations_by_hand() -> None:
    latency = counted([number / 1000 for number in range(1, 101)]).latency()
    assert latency is not None
    assert latency.p50 == pytest.approx(0.050, rel=0.01)
    assert latency.p90 == pytest.approx(0.090, rel=0.01)
    assert latency.p99 == pytest.approx(0.099, rel=0.01)
    assert latency.max == 0.1


@pytest.mark.parametrize("seconds", [0.0, -1e-9, 1e-12, 1e9])
def test_a_duration_outside_of_the_buckets_counts(seconds: float) -> None:
    counts = counted([seconds, 1.0, 1.0])
    latency = counts.latency()
    assert latency is not None
    assert latency.p50 == pytest.approx(1, rel=RELATIVE_ERROR)
    assert latency.max == max(seconds, 1.0)


def test_memory_is_bounded() -> None:
    rng = random.Random(0)
    counts = counted([10 ** rng.uniform(-9, 9) for _ in range(100_000)])
    assert len(counts._buckets) <= 1268


def test_parts_make_the_whole() -> None:
    rng = random.Random(1)
    durations = [rng.expovariate(10) for _ in range(300)]
    parts = [counted(durations[start::3]) for start in range(3)]
    whole = Durations()
    for part in parts:
        whole.include(part)
    assert whole.latency() == counted(durations).latency()
    assert parts[0].latency() == counted(durations[::3]).latency()  # as before
