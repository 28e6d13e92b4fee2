"""One call, one model: the samples that another one scored become errors, and proofs come due."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from copy import copy

from reward_client._base.results import Reward
from reward_client._base.samples import Sample
from reward_client._replicas.pool import ReplicaPool
from reward_client._scoring.base import Outcome
from reward_client.errors import ModelChangedError, RewardClientError

_logger = logging.getLogger("reward_client")

_INTERVAL = 60.0
"""Seconds between two proofs."""
_MANY = 256
"""Samples since the last proof after which a call ends with one, however short it was."""
_DEADLINE = 10.0
"""Seconds for a proof. A server that is away then proves nothing, and says nothing."""


class Watch:
    """Watches over the servers during one call. Belongs to one event loop.

    Args:
        score: Scores a group of samples.
        pools: Returns the servers.

    Attributes:
        failure: The error in the place of rewards since another model answered.
    """

    def __init__(
        self,
        score: Callable[[Sequence[Sample]], Awaitable[list[Outcome]]],
        pools: Callable[[], Awaitable[Sequence[ReplicaPool]]],
    ) -> None:
        self._score = score
        self._find_pools = pools
        self._pools: Sequence[ReplicaPool] = ()
        self._changes: int | None = None
        self.failure: ModelChangedError | None = None

    async def score(self, samples: Sequence[Sample]) -> list[Outcome]:
        """Return the outcomes of samples; errors in their place once another model answers."""
        if self.failure is not None:
            return [copy(self.failure) for _ in samples]
        outcomes = await self._score(samples)
        pools = self._pools = self._pools or await self._find_pools()
        pools[0].unproven += len(samples)
        changes = sum([pool.changes for pool in pools])
        if self._changes is None:
            self._changes = changes
        elif changes != self._changes and self.failure is None:
            self.failure = ModelChangedError(
                "Another model answers than at the start of the call. Score the samples of one "
                "call by one model."
            )
        return [*map(self.refused, outcomes)] if self.failure is not None else outcomes

    def refused(self, outcome: Outcome) -> Outcome:
        """Return the failure in the place of a reward."""
        is_reward = isinstance(outcome, Reward)
        return copy(self.failure) if is_reward and self.failure is not None else outcome

    async def prove(self, *, at_end: bool) -> bool:
        """Ensure that the servers have not changed since the start; return False if it is not due.

        Raises:
            ModelChangedError: If one is not.
        """
        if self.failure is not None or not self._pools or not (unproven := self._pools[0].unproven):
            return False
        passed = time.monotonic() - min(pool.asked_at for pool in self._pools)
        if passed < _INTERVAL and not (at_end and unproven >= _MANY):
            return False
        try:
            async with asyncio.timeout(_DEADLINE):
                for pool in self._pools:
                    await pool.prove()
        except ModelChangedError as error:
            self.failure = error
            raise
        except (RewardClientError, TimeoutError) as error:
            _logger.warning("nothing proves that the model is still the same: %s", error)
            return False
        return True
