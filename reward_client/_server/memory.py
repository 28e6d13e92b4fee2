"""A few samples of each stretch between two proofs, with their scores, to be scored again."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from reward_client._server.requests import Scorable
from reward_client._server.state import ServerState
from reward_client.errors import RewardClientError
from reward_client.heads import Scores

_PLACES = 4
_chance = Random()  # noqa: S311 - the caller's own sequence of numbers stays as it is
# Each sample is scored twice again: at most an eighth of the tokens between two proofs, or a few.
_SHARE = 16
_FEW_TOKENS = 4096


class Remembered(NamedTuple):
    """A sample, its scores, and those of all samples of its request."""

    sample: Scorable
    scores: Scores
    batch: Sequence[Scores]


class Memory:
    """Remembers samples of one server at random: each place may hold any one of the stretch."""

    def __init__(self) -> None:
        self._state: ServerState | None = None
        self._forget()

    def note(
        self,
        state: ServerState,
        samples: Sequence[Scorable],
        scores: Sequence[Scores | RewardClientError],
        size: int,
    ) -> None:
        """Remember some samples of a request, if chance says so.

        Args:
            state: The server.
            samples: The samples of the request.
            scores: The outcome of each.
            size: The number of all their tokens.
        """
        if state is not self._state:
            self._forget()
            self._state = state
        self._seen += len(samples)
        self._tokens += size
        share = len(samples) / self._seen
        due = [place for place in range(_PLACES) if _chance.random() < share]
        if not due:
            return
        scored = [
            (sample, each)
            for sample, each in zip(samples, scores, strict=True)
            if isinstance(each, Scores)
        ]
        batch = [each for _, each in scored]
        for place in due if scored else ():
            self._kept[place] = Remembered(*_chance.choice(scored), batch)

    def take(self, state: ServerState) -> list[Remembered]:
        """Return what is remembered of a server, the shortest samples first, and forget it."""
        kept = {each.sample.key: each for each in self._kept.values()}
        left = max(_FEW_TOKENS, self._tokens // _SHARE)
        is_known = state is self._state
        self._forget()
        taken: list[Remembered] = []
        for each in sorted(kept.values(), key=lambda each: each.sample.size):
            left -= each.sample.size
            if is_known and left >= 0:
                taken.append(each)
        return taken

    def _forget(self) -> None:
        self._kept: dict[int, Remembered] = {}
        self._seen = self._tokens = 0
