"""The verified state of one server: discovered once, and again when another may have come up."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable

from reward_client._protocols.http import RESTART_SECONDS, Transport
from reward_client._replicas.single_flight import SingleFlight
from reward_client._server.cross_check import scores_as_before
from reward_client._server.identity import identify
from reward_client._server.requests import OtherModelError
from reward_client._server.state import MAX_CHANGES, ServerState, keeps_changing
from reward_client.errors import ProtocolError, ServerUnreachableError


class ServerMonitor:
    """Keeps the state of one server up to date. Belongs to one event loop.

    Args:
        transport: The connection to the server. Its `lost_at` says when another server may have
            come up, and its `is_connected_since` whether connections of before prove the contrary.
        model: The model's name; None for the only one.
        discover: Discovers the whole state: some two dozen requests.
    """

    def __init__(
        self,
        transport: Transport,
        model: str | None,
        discover: Callable[[], Awaitable[ServerState]],
    ) -> None:
        self._transport = transport
        self._model = model
        self._discover = discover
        self._state: ServerState | None = None
        self._verified_from = -math.inf
        self._verified_at = 0.0
        self._last_response = 0.0
        self._renewal = SingleFlight()

    def take_over(self, earlier: ServerMonitor) -> None:
        """Continue with the state of an event loop that has ended, however old it is by now."""
        self._state = earlier._state
        self._verified_from = earlier._verified_from
        self._verified_at = earlier._verified_at
        self._last_response = earlier._last_response

    @property
    def latest(self) -> ServerState | None:
        """The last state, verified or not; None before the first discovery."""
        return self._state

    @property
    def current(self) -> ServerState | None:
        """The state; None if it must be verified first."""
        return None if self._is_lost() or self._is_doubtful() else self._state

    async def state(self) -> ServerState:
        """Return the state; verify or discover it first if need be.

        Everyone who waits meanwhile shares the outcome, also a failure.

        Raises:
            RewardClientError: If the server cannot be discovered.
        """
        current = self.current
        return await self._renewal.run(self._renew) if current is None else current

    async def _renew(self) -> ServerState:
        others = 0
        for _ in range(MAX_CHANGES):
            if self._state is None or self._is_lost() or not await self._is_same(self._state):
                began = time.monotonic()
                try:
                    discovered = await self._discover()
                except OtherModelError:
                    others += 1
                    continue
                except ProtocolError:
                    if self._transport.lost_at < began:
                        raise
                    continue  # two servers may have answered
                if self._state is None or not discovered.is_same_as(self._state):
                    self._state = discovered
                self._verified_from = began
            if not self._is_lost():
                self.note_response()
                self._verified_at = self._last_response
                return self._state
        if others == MAX_CHANGES:
            raise keeps_changing(self._transport.url)
        raise ServerUnreachableError(
            f"Cannot discover the server at {self._transport.url}: the connection was lost "
            f"{MAX_CHANGES} times meanwhile. Check that it is not restarting, and that no other "
            "server shares its address."
        )

    def holds(self, state: ServerState) -> bool:
        """Return True if this is still the state, and nothing makes that doubtful."""
        return state is self._state and not self._is_lost()

    async def still_serves(self, state: ServerState) -> bool:
        """Return True if this is still the state; verify that first if it is doubtful.

        Raises:
            RewardClientError: If the server cannot be discovered.
        """
        return self.holds(state) or await self.state() is state

    def note_response(self) -> None:
        """Note that the server has just answered as expected."""
        self._last_response = time.monotonic()

    async def _is_same(self, state: ServerState) -> bool:
        """Return True if the server, where it is doubtful, is the one of the state."""
        if not self._is_doubtful():
            return True
        if state.strategy.exported or state.activation.known_by in ("probe", "reference"):
            # The identity shows neither other flags nor a missing part of the head.
            return False
        if await identify(self._transport, self._model) != state.identity:
            return False
        return await scores_as_before(self._transport, state)  # other weights may have its name

    def _is_lost(self) -> bool:
        return self._transport.lost_at >= self._verified_from

    def _is_doubtful(self) -> bool:
        """Return True if another server may have come up without a lost connection.

        A service may hand its address to another server without a pause, which ends the connections
        to the first one.
        """
        now = time.monotonic()
        if now - self._verified_at <= RESTART_SECONDS:
            return False
        is_silent = now - self._last_response > RESTART_SECONDS
        return is_silent or not self._transport.is_connected_since(self._verified_at)
