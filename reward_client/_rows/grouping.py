"""The samples of rows in one stream, and their outcomes by row again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

from reward_client._base.results import Reward
from reward_client._base.samples import Sample
from reward_client.errors import RewardClientError

Outcome: TypeAlias = Reward | RewardClientError

_MAX_WAITING = 10_000
"""Rows without samples that are read before the rows that wait are given out."""


class RowOfSamples(Protocol):
    """A row with any number of samples."""

    @property
    def samples(self) -> Sequence[Sample]:
        """The samples to score; empty if the row has its result."""
        ...


R = TypeVar("R", bound=RowOfSamples)


class Grouping(Generic[R]):
    """Rows in progress, in order.

    Rows without samples wait for those before them. A stream of samples ends early after many of
    them, so that they are given out although nothing is scored.

    Args:
        rows: The rows, which are read as their samples are.

    Attributes:
        ended: True if no further row follows.
    """

    def __init__(self, rows: Iterable[R]) -> None:
        self._rows = iter(rows)
        self._waiting: deque[R] = deque()
        self._outcomes: list[Outcome] = []
        self.ended = False

    @property
    def first(self) -> R:
        """The row that the next outcome belongs to."""
        return self._waiting[0]

    def samples(self) -> Iterator[Sample]:
        """Iterate over the samples of the next rows."""
        without_samples = 0
        for row in self._rows:
            self._waiting.append(row)
            yield from row.samples
            without_samples += not row.samples
            if without_samples >= _MAX_WAITING:
                return
        self.ended = True

    def add(self, outcome: Reward | RewardClientError) -> list[tuple[R, list[Outcome]]]:
        """Take the next outcome; return the rows that it completes, with their outcomes."""
        completed = self.without_samples()
        self._outcomes.append(outcome)
        if len(self._outcomes) == len(self.first.samples):
            outcomes, self._outcomes = self._outcomes, []
            completed.append((self._waiting.popleft(), outcomes))
            completed += self.without_samples()
        return completed

    def without_samples(self) -> list[tuple[R, list[Outcome]]]:
        """Take the first rows, as long as they have no samples."""
        rows: list[tuple[R, list[Outcome]]] = []
        while self._waiting and not self._waiting[0].samples:
            rows.append((self._waiting.popleft(), []))
        return rows
