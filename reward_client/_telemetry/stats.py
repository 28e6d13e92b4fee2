"""The work of a client since it was made, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from reward_client._base.wording import count


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Quantiles of the durations of requests, in seconds.

    A duration lasts from sending a request to the end of its response, or to its failure. The time
    in which a request waits for other requests of the client does not count. The relative error of
    the quantiles is at most 1 %; ``max`` is exact.

    Attributes:
        p50: The median, in seconds.
        p90: The duration that 90 % of the requests do not exceed, in seconds.
        p99: The duration that 99 % of the requests do not exceed, in seconds.
        max: The longest duration, in seconds.
    """

    p50: float
    p90: float
    p99: float
    max: float

    def __str__(self) -> str:
        """The quantiles in a line."""
        return (
            f"{_seconds(self.p50)} (50 %), {_seconds(self.p90)} (90 %), {_seconds(self.p99)} "
            f"(99 %), {_seconds(self.max)} (longest)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """The requests of a client to one server.

    Attributes:
        requests: The number of HTTP requests, those that failed included.
        failed_requests: The number of requests without a usable response.
        retries: The number of requests that repeated a failed one at the same server.
        latency: The durations of the requests; None before the first one.
    """

    requests: int
    failed_requests: int
    retries: int
    latency: Latency | None

    def __str__(self) -> str:
        """The counts and quantiles in a line."""
        requests = f"{count(self.requests, 'request')}, {self.failed_requests:,} failed"
        latency = "" if self.latency is None else f"; {self.latency}"
        return f"{requests}, {_retries(self.retries)}{latency}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientStats:
    """The work of a client since it was made.

    Samples count once, however often they were sent. A sample that was stopped before its end, such
    as by closing a stream, counts neither as scored nor as failed. Requests include those that
    examine the servers. A request that holds samples of several clients of equal options counts
    for the client of the first sample.

    Attributes:
        started_at: The time at which the client was made, in UTC.
        elapsed: The seconds since then.
        scored: The number of samples with a reward. A reward that a later proof of the server puts
            in doubt stays counted.
        failed: The number of samples with an error.
        failures: The number of these samples by the class name of the error.
        faults: The number of these samples by `RewardClientError.fault`, ``"sample"`` or
            ``"server"``.
        tokens: The sum of ``Reward.token_count`` over the scored samples. A sample whose tokens
            only the server knows counts none.
        requests: The number of HTTP requests, those that failed included.
        requests_by_path: The same by the path, such as ``"/pooling"``.
        retries: The number of requests that repeated a failed one at the same server.
        latency: The durations of all requests; None before the first one.
        servers: The requests by the URL of the server.
        samples_per_second: ``scored / elapsed``. Pauses between calls count.
        tokens_per_second: ``tokens / elapsed``. Pauses between calls count.
    """

    started_at: datetime
    elapsed: float
    scored: int
    failed: int
    failures: Mapping[str, int]
    faults: Mapping[str, int]
    tokens: int
    requests: int
    requests_by_path: Mapping[str, int]
    retries: int
    latency: Latency | None
    servers: Mapping[str, ServerStats]
    samples_per_second: float
    tokens_per_second: float

    def __str__(self) -> str:
        """The counts, rates and quantiles as a short text."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        rates = f"{self.samples_per_second:,.1f} samples/s, {self.tokens_per_second:,.0f} tokens/s"
        yield f"scored:   {count(self.scored, 'sample')} in {self.elapsed:,.1f} s ({rates})"
        if self.failed:
            yield f"failed:   {count(self.failed, 'sample')} ({_listed(self.failures)})"
        paths = f" ({_listed(self.requests_by_path)})" if self.requests else ""
        yield f"requests: {self.requests:,}{paths}, {_retries(self.retries)}"
        if self.latency is not None:
            yield f"latency:  {self.latency}"
        if len(self.servers) > 1:
            yield from (f"{url}: {server}" for url, server in self.servers.items())


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in counts.items())


def _retries(number: int) -> str:
    return f"{number:,} {'retry' if number == 1 else 'retries'}"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:,.2f} s"
