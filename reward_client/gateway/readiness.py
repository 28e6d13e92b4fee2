"""Do the reward servers answer, and are they known?"""

from __future__ import annotations

import asyncio
import logging

from reward_client._base.results import ServerProfile
from reward_client._client.async_client import AsyncRewardClient
from reward_client.errors import RewardClientError, RewardTimeoutError
from reward_client.gateway.contracts.contract import Refusal
from reward_client.gateway.logs import note
from reward_client.gateway.one_model import OneModel

UNAVAILABLE = 503
PAUSE = 5
"""Seconds after which a caller asks again, if the reward servers fail."""

_FIRST_LOOK = 5.0
"""Seconds of waiting for the servers before the first line in the log."""
_LOOK = 30.0
"""Seconds between two further ones."""
_ANSWER = 3.0
"""Seconds within which a server that is ready tells what it is. Probes wait for it."""


def unavailable(error: RewardClientError) -> Refusal:
    """Return the refusal of a request that the reward servers cannot answer now."""
    reason = f"Cannot score now: {error}"
    return Refusal(UNAVAILABLE, type(error).__name__, reason, retry_after=PAUSE)


class Readiness:
    """Waits for the reward servers at the start, and asks them on request.

    Args:
        client: The client.
        model: The model of the start.
        patience: The longest wait of a request for servers that have never answered, in seconds.

    Attributes:
        is_ready: True once the servers have proven to give rewards.
    """

    def __init__(self, client: AsyncRewardClient, model: OneModel, patience: float) -> None:
        self._client = client
        self._model = model
        self._patience = patience
        self._has_answered = asyncio.Event()
        self.is_ready = False

    async def watch(self) -> None:
        """Wait until the servers are known. Log what is in the way, if anything is."""
        look = _FIRST_LOOK
        while True:
            try:
                await self._client.wait_until_ready(timeout=look)
                await self._model.check()
            except RewardTimeoutError as error:
                look = _LOOK
                reason = unavailable(error).reason
                note(logging.WARNING, "waiting for the reward servers", reason=reason)
            except RewardClientError as error:
                # They answer, and what they say will not change by waiting.
                self._has_answered.set()
                reason = unavailable(error).reason
                note(logging.ERROR, "the reward servers give no reward", reason=reason)
                await asyncio.sleep(_LOOK)
            else:
                self.is_ready = True
                self._has_answered.set()
                note(logging.INFO, "ready", servers=shown(await self._client.servers()))
                return

    async def wait(self) -> None:
        """Wait until the servers have answered once.

        Raises:
            Refusal: If they do not within the patience.
        """
        if self._has_answered.is_set():
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._has_answered.wait()
        except TimeoutError:
            try:
                await self.profiles()
            except RewardClientError as error:
                raise unavailable(error) from None

    async def profiles(self) -> tuple[ServerProfile, ...]:
        """Return the servers in rotation, which have just answered.

        Raises:
            RewardClientError: If they do not answer, or give no reward; also if another model
                answers than at the start.
        """
        await self._client.wait_until_ready(timeout=_ANSWER)
        try:
            async with asyncio.timeout(_ANSWER):
                await self._model.check()
                return await self._client.servers()
        except TimeoutError as error:
            if isinstance(error, RewardClientError):
                raise
            raise RewardTimeoutError("The reward servers have just stopped to answer.") from None


def shown(profiles: tuple[ServerProfile, ...]) -> list[dict[str, object]]:
    """Return what tells servers apart, as JSON values."""
    return [
        {"url": each.url, "model": each.model, "version": each.version, "recipe": each.recipe}
        for each in profiles
    ]
