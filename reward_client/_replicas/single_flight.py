"""Work whose failure is shared by all who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from copy import copy
from typing import TypeVar

from reward_client.errors import RewardClientError

T = TypeVar("T")


class SingleFlight:
    """Does one piece of work after the other, for one event loop.

    Whoever waited while one failed gets its failure, and does not try again: a thousand samples do
    not ask a dead server one after the other.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._ended = 0
        self._failure: RewardClientError | None = None

    async def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """The result of the work.

        Raises:
            RewardClientError: The work did, or another one that ended meanwhile.
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
