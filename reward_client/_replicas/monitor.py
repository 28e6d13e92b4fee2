"""The profile that holds now: made once, and anew when another server may have come up."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from reward_client._protocols.http import RESTART_SECONDS, Transport
from reward_client._replicas.single_flight import SingleFlight
from reward_client._server.identity import Identity
from reward_client._server.state import ServerState
from reward_client.errors import ServerUnreachableError

_MAX_CHANGES = 5
"""How often in a row the server may change before that is called a failure."""


class ServerMonitor:
    """Keeps the profile of one server, for one event loop.

    Args:
        transport: The way to the server; its `epoch` tell when another may have come up.
        identify: Asks who is there: two small requests.
        discover: Finds out all there is: a handful of requests.
    """

    def __init__(
        self,
        transport: Transport,
        identify: Callable[[], Awaitable[Identity]],
        discover: Callable[[], Awaitable[ServerState]],
    ) -> None:
        self._caller = transport
        self._identify = identify
        self._discover = discover
        self._serving: ServerState | None = None
        self._epoch = 0
        self._heard = 0.0
        self._renewals = SingleFlight()

    @property
    def current(self) -> ServerState | None:
        """The server as it is now; None where that has to be found out."""
        return None if self._is_lost() or self._is_silent() else self._serving

    async def serving(self) -> ServerState:
        """The server as it is now, finding it out where need be.

        Whoever waits while it is found out shares the outcome, a failure too.

        Raises:
            RewardClientError: It cannot be found out.
        """
        current = self.current
        return await self._renewals.do(self._renewed) if current is None else current

    async def _renewed(self) -> ServerState:
        for _ in range(_MAX_CHANGES):
            if self._serving is None or self._is_lost() or not await self._is_known(self._serving):
                epoch = self._caller.epoch
                found = await self._discover()
                if self._serving is None or not found.is_same_as(self._serving):
                    self._serving = found
                self._epoch = epoch
            if not self._is_lost():
                self.heard()
                return self._serving
        raise ServerUnreachableError(
            f"The server at {self._caller.url} was lost {_MAX_CHANGES} times while it was asked "
            "what it is. Is it restarting, or are several behind one address?"
        )

    def holds(self, serving: ServerState) -> bool:
        """Whether it is still the same server, and nothing makes that doubtful."""
        return serving is self._serving and not self._is_lost()

    async def still_serves(self, serving: ServerState) -> bool:
        """Whether it is still the same server, finding it out anew where that is doubtful.

        Raises:
            RewardClientError: It cannot be found out.
        """
        return self.holds(serving) or await self.serving() is serving

    def heard(self) -> None:
        """Notes that the server has just answered as expected."""
        self._heard = time.monotonic()

    async def _is_known(self, serving: ServerState) -> bool:
        """Whether the server says that it is the one of the profile, where it was silent."""
        if not self._is_silent():
            return True
        if serving.exported or serving.activation.known_by in ("probe", "reference"):
            # A restart with other flags, or without a part of the head, would not show in it.
            return False
        return await self._identify() == serving.identity

    def _is_lost(self) -> bool:
        return self._caller.epoch != self._epoch

    def _is_silent(self) -> bool:
        return time.monotonic() - self._heard > RESTART_SECONDS
