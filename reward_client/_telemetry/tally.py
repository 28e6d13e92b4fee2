"""The counts of one client. Threads and event loops may share it."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import NamedTuple, Self
from weakref import WeakSet

from reward_client._base.results import Reward
from reward_client._telemetry.durations import Durations
from reward_client._telemetry.stats import ClientStats, ServerStats
from reward_client.errors import RewardClientError


class OutcomeCounts(NamedTuple):
    """The outcomes of samples in numbers.

    Attributes:
        scored: The number of rewards.
        tokens: The sum of the known token counts of the rewards.
        model: The model that gave the first reward, if there is one.
        engine: The engine that served it.
        errors: The errors.
    """

    scored: int
    tokens: int
    model: str | None
    engine: str | None
    errors: Sequence[Exception]

    @classmethod
    def of(cls, outcomes: Sequence[Reward | Exception]) -> Self:
        """Count outcomes."""
        rewards = [outcome for outcome in outcomes if isinstance(outcome, Reward)]
        errors: Sequence[Exception] = ()
        if len(rewards) < len(outcomes):
            errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        tokens = sum([reward.token_count or 0 for reward in rewards])
        if not rewards:
            return cls(0, 0, None, None, errors)
        first = rewards[0].provenance
        return cls(len(rewards), tokens, first.model, first.engine, errors)


class _Server:
    """The requests to one server."""

    __slots__ = ("durations", "failed", "paths", "retries")

    def __init__(self) -> None:
        self.paths: Counter[str] = Counter()
        self.failed = 0
        self.retries = 0
        self.durations = Durations()

    def stats(self) -> ServerStats:
        """Return the counts."""
        return ServerStats(
            requests=self.paths.total(),
            failed_requests=self.failed,
            retries=self.retries,
            latency=self.durations.latency(),
        )


class Tally:
    """Counts samples and requests, many samples at a time. A forked process counts from zero."""

    def __init__(self) -> None:
        self.reset()
        _tallies.add(self)

    def reset(self) -> None:
        """Count from zero, from now on."""
        self._lock = threading.Lock()
        self._started_at = datetime.now(UTC)
        self._began = time.monotonic()
        self._scored = 0
        self._tokens = 0
        self._failures: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._servers: defaultdict[str, _Server] = defaultdict(_Server)

    def note_outcomes(self, counts: OutcomeCounts) -> None:
        """Count samples."""
        with self._lock:
            self._scored += counts.scored
            self._tokens += counts.tokens
            for error in counts.errors:
                self._failures[type(error).__name__] += 1
                self._faults[error.fault if isinstance(error, RewardClientError) else "server"] += 1

    def note_request(
        self, url: str, path: str, seconds: float, *, failed: bool, is_retry: bool
    ) -> None:
        """Count a request that has ended.

        Args:
            url: The base URL of the server.
            path: The path of the request.
            seconds: The duration of the request.
            failed: True if no usable response came.
            is_retry: True if an earlier attempt of the same request had failed.
        """
        with self._lock:
            server = self._servers[url]
            server.paths[path] += 1
            server.failed += failed
            server.retries += is_retry
            server.durations.add(seconds)

    def stats(self) -> ClientStats:
        """Return the counts of now."""
        with self._lock:
            elapsed = time.monotonic() - self._began
            paths, durations, retries = Counter[str](), Durations(), 0
            for server in self._servers.values():
                paths += server.paths
                durations.include(server.durations)
                retries += server.retries
            return ClientStats(
                started_at=self._started_at,
                elapsed=elapsed,
                scored=self._scored,
                failed=self._failures.total(),
                failures=dict(self._failures.most_common()),
                faults=dict(self._faults.most_common()),
                tokens=self._tokens,
                requests=paths.total(),
                requests_by_path=dict(paths.most_common()),
                retries=retries,
                latency=durations.latency(),
                servers={url: server.stats() for url, server in sorted(self._servers.items())},
                samples_per_second=self._scored / elapsed if elapsed else 0.0,
                tokens_per_second=self._tokens / elapsed if elapsed else 0.0,
            )


current_tally: ContextVar[Tally | None] = ContextVar("current_tally", default=None)
"""The client whose requests the running task, and each task that it starts, sends."""

_tallies: WeakSet[Tally] = WeakSet()


def _reset_after_fork() -> None:
    # Another thread of the parent may have held a lock.
    for tally in tuple(_tallies):
        tally.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
