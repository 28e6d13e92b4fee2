"""Counts and durations of a gateway, as text for Prometheus.

Source of the format: Prometheus, "Exposition formats", text format 0.0.4.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from reward_client._base.results import Reward
from reward_client._telemetry.stats import ClientStats
from reward_client.errors import RewardClientError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
"""The upper bounds of the buckets of durations, in seconds."""
_QUANTILES = ("p50", "p90", "p99")
_PREFIX = "reward_client_gateway_"

_Labels: TypeAlias = Mapping[str, str]
_Sample: TypeAlias = tuple[str, _Labels, float]
"""The end of a name, the labels, and the value."""


@dataclass(slots=True)
class _Durations:
    """The durations of the requests of one contract.

    Attributes:
        buckets: The number of durations up to each bound, and above the last one.
        total: Their sum in seconds.
    """

    buckets: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count a duration."""
        self.buckets[bisect_left(_BUCKETS, seconds)] += 1
        self.total += seconds

    def samples(self, labels: _Labels) -> Iterator[_Sample]:
        """Iterate over the lines of the histogram, whose buckets hold all shorter durations too."""
        counted = 0
        for bound, number in zip((*map(str, _BUCKETS), "+Inf"), self.buckets, strict=True):
            counted += number
            yield "_bucket", {**labels, "le": bound}, counted
        yield "_sum", labels, self.total
        yield "_count", labels, counted


class Metrics:
    """Counts the work of a gateway. Belongs to one event loop.

    Attributes:
        requests_in_flight: The number of requests that have no answer yet.
    """

    def __init__(self) -> None:
        self.requests_in_flight = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._durations: defaultdict[str, _Durations] = defaultdict(_Durations)
        self._scored: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._failures: Counter[tuple[str, str]] = Counter()

    def note_request(self, contract: str, status: int, seconds: float) -> None:
        """Count a request that has ended.

        Args:
            contract: The name of the contract.
            status: The status of the answer.
            seconds: The time from the first byte of the request to the answer.
        """
        self._requests[contract, status] += 1
        self._durations[contract].add(seconds)

    def note_outcomes(self, contract: str, outcomes: Sequence[Reward | RewardClientError]) -> None:
        """Count samples."""
        rewards = [outcome for outcome in outcomes if isinstance(outcome, Reward)]
        self._scored[contract] += len(rewards)
        self._tokens[contract] += sum([reward.token_count or 0 for reward in rewards])
        if len(rewards) < len(outcomes):
            for outcome in outcomes:
                if not isinstance(outcome, Reward):
                    self._failures[contract, type(outcome).__name__] += 1

    def text(self, samples_in_flight: int, stats: ClientStats, *, ready: bool) -> str:
        """Return all figures as text for Prometheus.

        Args:
            samples_in_flight: The number of samples without an outcome.
            stats: The work of the client.
            ready: True once the reward servers have proven to give rewards.
        """
        families = [*self._families(samples_in_flight, ready=ready), *_of_servers(stats)]
        return "".join(line for family in families for line in family)

    def _families(self, samples_in_flight: int, *, ready: bool) -> Iterator[Iterator[str]]:
        yield _family(
            "ready",
            "gauge",
            "1 once the reward servers have given rewards.",
            [_plain(ready)],
        )
        yield _family(
            "requests_in_flight",
            "gauge",
            "Requests without an answer.",
            [_plain(self.requests_in_flight)],
        )
        yield _family(
            "samples_in_flight",
            "gauge",
            "Samples without an outcome.",
            [_plain(samples_in_flight)],
        )
        yield _family(
            "requests_total",
            "counter",
            "Requests with an answer; the status 499 stands for callers that have left.",
            [
                ("", {"contract": contract, "status": str(status)}, number)
                for (contract, status), number in self._requests.items()
            ],
        )
        yield _family(
            "request_seconds",
            "histogram",
            "Durations of requests.",
            [
                sample
                for contract, durations in self._durations.items()
                for sample in durations.samples({"contract": contract})
            ],
        )
        for name, what, counts in (
            ("samples_total", "Samples with a reward.", self._scored),
            ("tokens_total", "Tokens of the samples with a reward.", self._tokens),
        ):
            labelled = [("", {"contract": each}, number) for each, number in counts.items()]
            yield _family(name, "counter", what, labelled)
        yield _family(
            "failures_total",
            "counter",
            "Samples without a reward, by the kind of their error.",
            [
                ("", {"contract": contract, "kind": kind}, number)
                for (contract, kind), number in self._failures.items()
            ],
        )


def _of_servers(stats: ClientStats) -> Iterator[Iterator[str]]:
    for name, what, key in (
        ("server_requests_total", "Requests to a reward server.", "requests"),
        ("server_failures_total", "Requests without a usable response.", "failed_requests"),
        ("server_retries_total", "Requests that repeated a failed one.", "retries"),
    ):
        counted = [
            ("", {"server": url}, getattr(server, key)) for url, server in stats.servers.items()
        ]
        yield _family(name, "counter", what, counted)
    yield _family(
        "server_request_seconds",
        "summary",
        "Durations of the requests to a reward server, within 1 %.",
        [
            ("", {"server": url, "quantile": f"0.{quantile[1:]}"}, getattr(latency, quantile))
            for url, server in stats.servers.items()
            if (latency := server.latency) is not None
            for quantile in _QUANTILES
        ],
    )


def _plain(number: float) -> _Sample:
    return "", {}, number


def _family(name: str, kind: str, what: str, samples: Iterable[_Sample]) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {what}\n"
    yield f"# TYPE {_PREFIX}{name} {kind}\n"
    for end, labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{_PREFIX}{name}{end}{f'{{{shown}}}' if shown else ''} {_number(value)}\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
