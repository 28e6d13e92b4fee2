"""The states of the replicas of a pool that were proven equal, also of those that are away."""

from __future__ import annotations

from reward_client._replicas.pool import ReplicaPool
from reward_client._server.state import ServerState


class ProvenStates:
    """Remembers the states that equal the baseline of a pool, until another model sets it.

    Args:
        pool: The pool.
    """

    def __init__(self, pool: ReplicaPool) -> None:
        self._pool = pool
        self._changes = pool.changes
        self._states: list[ServerState] = []

    def take_over(self, earlier: ProvenStates) -> None:
        """Continue with what was known in an event loop that has ended."""
        if earlier._changes == earlier._pool.changes:
            self._states = earlier._states.copy()

    async def states(self) -> list[ServerState]:
        """Return the states, with the limits of the baseline.

        Raises:
            RewardClientError: As `ReplicaPool.states`.
        """
        pool = self._pool
        changes = None
        states: tuple[ServerState, ...] = ()
        while changes != pool.changes:  # another model may come up during the request
            changes = pool.changes
            states = await pool.states()
        if self._changes != pool.changes:
            self._changes = pool.changes
            self._states.clear()
        found = (pool.baseline, *states)  # the first one may be away by now
        self._states += [state for state in found if state not in self._states]
        return [state.with_limits_of(pool.baseline) for state in self._states]
