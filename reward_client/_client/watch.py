"""One call, one model: the samples that another one scored become errors, and proofs come due."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from typing import Generic, TypeAlias, TypeVar

from reward_client._base.results import Reward
from reward_client._replicas.pool import ReplicaPool
from reward_client._telemetry.observation import ObservedCall
from reward_client.errors import ModelChangedError, RewardClientError

WorkT = TypeVar("WorkT")
ResultT = TypeVar("ResultT")
OutcomesOf: TypeAlias = Callable[
    [Sequence[WorkT], Sequence[ResultT | Exception]], Sequence[Reward | Exception]
]

_logger = logging.getLogger("reward_client")

_INTERVAL = 60.0
"""Seconds between two proofs."""
_MANY = 256
"""Rewards since the last proof after which a call ends with one, however short it was."""
_DEADLINE = 10.0
"""Seconds for a proof. A server that is away then proves nothing, and says nothing."""


class Watch(Generic[WorkT, ResultT]):
    """Watches over the servers during one call. Belongs to one event loop.

    Args:
        score: Scores a group of samples. Another call may have other work and other results.
        pools: Returns the servers.
        observed: Observes the outcomes and the requests.
        outcomes_of: Returns the outcomes of the samples in work, from its results.

    Attributes:
        failure: The error in the place of rewards since another model answered.
    """

    def __init__(
        self,
        score: Callable[[Sequence[WorkT]], Awaitable[list[ResultT | Exception]]],
        pools: Callable[[], Awaitable[Sequence[ReplicaPool]]],
        observed: ObservedCall,
        outcomes_of: OutcomesOf[WorkT, ResultT],
    ) -> None:
        self._score = score
        self._find_pools = pools
        self._observed = observed
        self._outcomes_of = outcomes_of
        self._pools: Sequence[ReplicaPool] = ()
        self._changes: int | None = None
        self._asked_at = math.inf
        self._own = 0  # the rewards of this call since then
        self.failure: ModelChangedError | None = None

    async def score(self, samples: Sequence[WorkT]) -> list[ResultT | Exception]:
        """Return the outcomes of samples; errors in their place once another model answers."""
        with self._observed.active():
            try:
                results = await self._results(samples)
            except Exception as error:
                self._observed.note(self._outcomes_of(samples, [error] * len(samples)))
                raise
        self._observed.note(self._outcomes_of(samples, results))
        return results

    async def _results(self, samples: Sequence[WorkT]) -> list[ResultT | Exception]:
        if self.failure is not None:
            return [copy(self.failure) for _ in samples]
        outcomes = await self._score(samples)
        pools = self._pools = self._pools or await self._find_pools()
        failed = sum([isinstance(outcome, Exception) for outcome in outcomes])
        self._count(pools[0], len(outcomes) - failed)
        changes = sum([pool.changes for pool in pools])
        if self._changes is None:
            self._changes = changes
        elif changes != self._changes and self.failure is None:
            self.failure = ModelChangedError(
                "Another model answers than at the start of the call. Score the samples of one "
                "call by one model."
            )
        return [*map(self.refused, outcomes)] if self.failure is not None else outcomes

    def refused(self, outcome: ResultT | Exception) -> ResultT | Exception:
        """Return the failure in the place of a reward."""
        if self.failure is None or isinstance(outcome, Exception):
            return outcome
        return copy(self.failure)

    async def prove(self, *, at_end: bool, taken: Sequence[int] = ()) -> bool:
        """Ensure that the servers have not changed since the start; return False if it is not due.

        Args:
            at_end: True if the call ends.
            taken: The numbers of the samples whose rewards the caller took since the last proof.

        Raises:
            ModelChangedError: If one has. It names the rewards in doubt.
        """
        if self.failure is not None or not self._pools or not (unproven := self._pools[0].unproven):
            return False
        passed = time.monotonic() - min(pool.asked_at for pool in self._pools)
        if passed < _INTERVAL and not (at_end and unproven >= _MANY):
            return False
        earlier = unproven - self._count(self._pools[0], 0)
        try:
            with self._observed.active():
                async with asyncio.timeout(_DEADLINE):
                    for pool in self._pools:
                        await pool.prove()
        except ModelChangedError as error:
            self.failure = error
            raise _with_doubt(error, tuple(taken), earlier) from error
        except (RewardClientError, TimeoutError) as error:
            why = str(error) or f"no answer within {_DEADLINE:g} s"
            _logger.warning("nothing proves that the model is still the same: %s", why)
            return False
        return True

    def _count(self, pool: ReplicaPool, rewards: int) -> int:
        """Count rewards of this call; return their number since the servers were last asked."""
        if pool.asked_at != self._asked_at:  # also by another call
            self._asked_at, self._own = pool.asked_at, 0
        pool.unproven += rewards
        self._own += rewards
        return self._own


def _with_doubt(
    error: ModelChangedError, taken: tuple[int, ...], earlier: int
) -> ModelChangedError:
    """Return an error that names the rewards in doubt.

    Args:
        error: The error of a proof.
        taken: The numbers of the call's samples with a reward since the last proof.
        earlier: The number of rewards of earlier calls since then.
    """
    doubts: list[str] = []
    if taken:
        doubts.append(
            f"the {_rewards(len(taken))} since the last proof, samples {min(taken)} to {max(taken)}"
        )
    if earlier:
        doubts.append(f"{_rewards(earlier)} of earlier calls")
    said = f" In doubt: {', and '.join(doubts)}. Score these again." if doubts else ""
    return ModelChangedError(f"{error}{said}", doubtful=taken)


def _rewards(count: int) -> str:
    return f"{count} reward{'s' * (count != 1)}"
