"""Several things at once, of which none is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class Together(asyncio.TaskGroup):
    """A group of tasks: once one fails, the others stop, and its error is raised.

    `asyncio.gather` would leave them running.
    """

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        except BaseExceptionGroup as failed:
            first = failed.exceptions[0]
        else:
            return
        raise first


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return the results of coroutines that run at once, in their order.

    Raises:
        BaseException: The first error of one of them; the others stop then.
    """
    async with Together() as group:
        tasks = [group.create_task(each) for each in work]
    return [task.result() for task in tasks]
