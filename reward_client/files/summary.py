"""Summarize the results of a file in constant memory."""

from __future__ import annotations

import math
import random
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.wording import count, shorten
from reward_client._client.failures import fault_of
from reward_client._printable import one_line

_SAMPLE_SIZE = 50_000
"""Quantiles of more rewards are estimated from a sample of this size (error: 0.5 % of rank)."""
_REASON_CHARACTERS = 400
_MAX_COLUMNS = 100
"""Names of columns to remember: a file may have other ones in each row."""
_COLUMNS_CHARACTERS = 400
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary:
    """Counts and quantiles of a scored file.

    Attributes:
        rows: Number of rows, including earlier runs.
        failures: Number of failed rows by the type of their (first) error.
        reasons: The first failed row of each type: its position and the message of its error.
        can_retry: True if a row failed by a fault of the server or the network, so that another
            run with ``retry_failed=True`` may score it.
        kept: Number of rows with the result of an earlier run.
        rewards: ``min``, ``5%``, ``25%``, ``50%``, ``75%``, ``95%`` and ``max`` of all rewards,
            including each reward of a row with several responses. Empty without rewards. Above
            50,000 rewards, quantiles are estimated from a random sample.
        conversations: Number of conversations that this run scored.
        tokens: Number of tokens in these conversations.
        seconds: Duration of this run.
        unread: The names of columns with a value that this run did not read, 100 at most.
    """

    rows: int
    failures: Mapping[str, int]
    reasons: Mapping[str, tuple[int, str]]
    can_retry: bool
    kept: int
    rewards: Mapping[str, float]
    conversations: int
    tokens: int
    seconds: float
    unread: tuple[str, ...]

    @property
    def failed(self) -> int:
        """Number of failed rows."""
        return sum(self.failures.values())

    def __str__(self) -> str:
        """Format the summary as lines for people."""
        scored = self.rows - self.failed
        lines = [f"{count(self.rows, 'row')}: {scored:,} scored, {self.failed:,} failed"]
        if self.failures:
            lines[0] += f" ({', '.join(f'{n:,} {error}' for error, n in self.failures.items())})"
        if self.kept:
            lines[0] += f"; {self.kept:,} of them in earlier runs"
        lines += [
            f"first {error}, in row {row}: {shorten(one_line(message), _REASON_CHARACTERS)}"
            for error, (row, message) in self.reasons.items()
        ]
        if self.unread:
            names = ", ".join(name if name.isprintable() else repr(name) for name in self.unread)
            lines.append(f"columns that were not read: {shorten(names, _COLUMNS_CHARACTERS)}")
        if self.rewards:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in self.rewards.items())
            lines.append(f"rewards: {shown}")
        if self.conversations:
            lines.append(
                f"{count(self.conversations, 'conversation')} in {self.seconds:.1f} s: "
                f"{self.conversations / self.seconds:,.0f} conv/s, "
                f"{self.tokens / self.seconds:,.0f} tokens/s"
            )
        return "\n".join(lines)


class Tally:
    """Running counts of new and earlier results."""

    def __init__(self) -> None:
        self.rows = 0
        self.kept = 0
        self.conversations = 0
        self.tokens = 0
        self.failures: Counter[str] = Counter()
        self._reasons: dict[str, tuple[int, str]] = {}
        self._can_retry = False
        self._unread: dict[str, None] = {}
        self._rewards = _Rewards()

    def add(
        self, result: Mapping[str, object], *, is_kept: bool, unread: Iterable[str] = ()
    ) -> None:
        """Count a result.

        Args:
            result: The result.
            is_kept: True if an earlier run wrote it.
            unread: The names of the row's columns that no sample is made of.
        """
        for name in unread:
            if len(self._unread) < _MAX_COLUMNS:
                self._unread[name] = None
        errors = [error for error in row_errors(result) if error is not None]
        if errors:
            self.failures[errors[0].type] += 1
            self._reasons.setdefault(errors[0].type, (self.rows, errors[0].message))
            self._can_retry |= any(fault_of(error.type) == "server" for error in errors)
        self.rows += 1
        rewards = [*_numbers(result.get("reward"))]
        for reward in rewards:
            self._rewards.add(reward)
        if is_kept:
            self.kept += 1
        else:
            counts = [*_numbers(result.get("token_count"))]
            # Some conversations have no scalar reward, and some have no token count.
            self.conversations += max(len(rewards), len(counts))
            self.tokens += int(sum(counts))

    def summary(self, seconds: float) -> ScoreSummary:
        """Return the summary of all counted results."""
        return ScoreSummary(
            rows=self.rows,
            failures=dict(self.failures.most_common()),
            reasons={error: self._reasons[error] for error, _ in self.failures.most_common()},
            can_retry=self._can_retry,
            kept=self.kept,
            rewards=self._rewards.quantiles(),
            conversations=self.conversations,
            tokens=self.tokens,
            seconds=seconds,
            unread=tuple(self._unread),
        )


class _Rewards:
    """Minimum, maximum and a uniform sample (reservoir sampling) of a stream of rewards."""

    def __init__(self) -> None:
        self._count = 0
        self._sample = array("d")
        self._min = math.inf
        self._max = -math.inf
        self._random = random.Random(0)  # noqa: S311 - a fixed seed makes summaries reproducible

    def add(self, reward: float) -> None:
        self._count += 1
        self._min = min(self._min, reward)
        self._max = max(self._max, reward)
        if len(self._sample) < _SAMPLE_SIZE:
            self._sample.append(reward)
        else:
            index = self._random.randrange(self._count)
            if index < _SAMPLE_SIZE:
                self._sample[index] = reward

    def quantiles(self) -> dict[str, float]:
        if not self._sample:
            return {}
        ranked = sorted(self._sample)
        middle = {f"{share:.0%}": ranked[round(share * (len(ranked) - 1))] for share in _QUANTILES}
        return {"min": self._min, **middle, "max": self._max}


class RowError(NamedTuple):
    """An error in a result.

    Attributes:
        type: Name of the class of the error.
        message: Message of the error.
    """

    type: str
    message: str


def row_errors(result: Mapping[str, object]) -> tuple[RowError | None, ...]:
    """Return the errors of a row, with None for each sample that has a reward.

    Returns:
        An empty tuple for a row without errors.
    """
    error = result.get("error")
    if error is None:
        return ()
    mapping = as_mapping(error) or {}
    if isinstance(mapping.get("type"), str):
        return (_row_error(mapping),)
    items = (*mapping.values(), *(as_list(error) or ()))
    return tuple(None if item is None else _row_error(as_mapping(item) or {}) for item in items)


def _row_error(error: Mapping[str, object]) -> RowError:
    return RowError(str(error.get("type", "unknown")), str(error.get("message", "")))


def _numbers(value: object) -> Iterator[float]:
    """Iterate over the numbers in a value of any result shape."""
    if isinstance(value, int | float):
        yield value
    for item in chain((as_mapping(value) or {}).values(), as_list(value) or ()):
        if isinstance(item, int | float):
            yield item
