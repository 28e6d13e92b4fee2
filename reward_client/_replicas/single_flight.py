"""A piece of work that many wait for, and whose failure they share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import copy
from typing import TypeVar

from reward_client.errors import RewardClientError

T = TypeVar("T")


class SingleFlight:
    """Runs one piece of work at a time. Belongs to one event loop.

    Everyone who waits while one fails gets that failure: a thousand samples do not ask a dead
    server one after the other.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._ended = 0
        self._failure: RewardClientError | None = None

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the work.

        Raises:
            RewardClientError: If the work failed, or the one that everybody waited for.
        """
        ended = self._ended
        async with self._lock:
            if self._failure is not None and self._ended != ended:
                raise copy(self._failure) from self._failure
            self._failure = None
            try:
                return await work()
            except RewardClientError as error:
                self._failure = error
                raise
            finally:
                self._ended += 1
