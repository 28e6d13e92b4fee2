"""What every method does: prompts in, rewards out."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from reward_client._base.results import Provenance, Reward, TokenizedSample
from reward_client._base.samples import Prompt
from reward_client._replicas.pool import ReplicaPool
from reward_client.errors import ResponseMismatchError

T = TypeVar("T")

Settle: TypeAlias = Callable[[Mapping[int, Reward | Exception]], None]
"""Takes outcomes of prompts by their numbers, as soon as they are there."""

MAX_BASELINES = 5
"""How many models may take each other's place under one sample before that is a failure."""


class Scorer(ABC):
    """Has prompts scored by the servers of one event loop."""

    @property
    def compares(self) -> bool:
        """Whether it only compares responses, and has no reward for a single one."""
        return False

    @abstractmethod
    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """The token IDs that a prompt would be scored as.

        Raises:
            RewardClientError: They are not to be had.
        """

    @abstractmethod
    async def score_each(self, prompts: Mapping[int, Prompt], settle: Settle) -> None:
        """The rewards of prompts, each by its number.

        Args:
            prompts: The prompts; those that share requests are neighbours.
            settle: Is told the outcomes.

        Raises:
            RewardClientError: None of the rest can be scored.
        """

    async def provenance(self, read: Provenance) -> Provenance:
        """Where rewards come from, by where what they are read of does.

        Raises:
            RewardClientError: Who else has a part in them is not to be had.
        """
        return read

    @abstractmethod
    async def aclose(self) -> None:
        """Stops what is under way, and waits until it has stopped."""

    async def score(self, prompt: Prompt) -> Reward:
        """The reward of one prompt.

        Raises:
            RewardClientError: Of any kind but `BatchError`.
        """
        outcomes: dict[int, Reward | Exception] = {}
        await self.score_each({0: prompt}, outcomes.update)
        outcome = outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def together(works: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """What comes of works that are done at the same time; the first failure stops the others.

    Raises:
        Exception: That of the first work that failed.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def by_the_same(pools: Sequence[ReplicaPool], work: Callable[[], Awaitable[T]]) -> T:
    """What comes of work in several parts, all of them done by the same models.

    It begins only when all of them are there.

    Args:
        pools: Who does the work.
        work: The work; done again where another model has taken one's place meanwhile.

    Raises:
        ResponseMismatchError: It was another one each time.
        RewardClientError: One is not there.
    """
    for _ in range(MAX_BASELINES):
        before = [await pool.assured() for pool in pools]
        done = await work()
        if all(pool.baseline is one for pool, one in zip(pools, before, strict=True)):
            return done
    raise always_another(pools[-1])


async def each_of(
    prompts: Mapping[int, Prompt],
    settle: Settle,
    work: Callable[[Prompt], Awaitable[Reward]],
    places: asyncio.Semaphore,
) -> None:
    """Settles each prompt with what comes of work for it.

    Args:
        prompts: The prompts by their numbers.
        settle: Is told the outcomes.
        work: Makes a reward of a prompt.
        places: How many prompts may be under way: one is done before too many others begin.
    """

    async def one(number: int) -> None:
        try:
            async with places:
                settle({number: await work(prompts[number])})
        except Exception as error:  # noqa: BLE001 - a caller's transport may raise anything
            settle({number: error})

    async with asyncio.TaskGroup() as group:
        for number in prompts:
            group.create_task(one(number))


def always_another(pool: ReplicaPool) -> ResponseMismatchError:
    """The error for a model that is another one each time."""
    return ResponseMismatchError(
        f"The server at {pool.baseline.serving.profile.url} was another one each of "
        f"{MAX_BASELINES} times: several servers that differ seem to share this address."
    )
