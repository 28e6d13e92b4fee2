"""The base of all scorers: prompts in, outcomes out."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import TypeAlias, TypeVar

from reward_client._base.results import Provenance, Reward, TokenizedSample
from reward_client._base.samples import Conversation, Prompt
from reward_client._replicas.pool import Replica, ReplicaPool
from reward_client._server.state import MAX_CHANGES, ServerState, keeps_changing
from reward_client._tokenization import Tokenizer

T = TypeVar("T")

Outcome: TypeAlias = Reward | Exception
"""The reward of a prompt, or the error that took its place."""


class Scorer(ABC):
    """Scores prompts on the servers of one event loop."""

    def take_over(self, earlier: Scorer) -> None:  # noqa: B027 - most know nothing
        """Continue with what the scorer of an event loop that has ended knew of the servers."""

    @property
    def compares(self) -> bool:
        """True if it only compares responses and has no reward for a single one."""
        return False

    @abstractmethod
    async def score(self, prompts: Sequence[Prompt]) -> list[Outcome]:
        """Return the outcome of each prompt."""

    async def score_one(self, prompt: Prompt) -> Reward:
        """Return the reward of one prompt.

        Raises:
            Exception: If it cannot be scored.
        """
        (outcome,) = await self.score([prompt])
        return reward_or_raise(outcome)

    @abstractmethod
    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """Return the token IDs that a prompt would be scored as.

        Raises:
            RewardClientError: If they cannot be made.
        """

    def provenances(
        self,
        pooled: Provenance,
        authors: Iterable[ServerState],
    ) -> list[Provenance]:
        """Return the provenances that rewards of one server may have.

        Args:
            pooled: The provenance of the pooled output.
            authors: The servers that may write texts for it.
        """
        return [pooled]

    @abstractmethod
    async def aclose(self) -> None:
        """Stop the work in progress, and wait until it has stopped."""


def reward_or_raise(outcome: Outcome) -> Reward:
    """Return the reward; raise the error that took its place."""
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def gather_outcomes(rewards: Iterable[Coroutine[object, object, Reward]]) -> list[Outcome]:
    """Run coroutines concurrently; return the reward or the error of each."""

    async def outcome(reward: Coroutine[object, object, Reward]) -> Outcome:
        try:
            return await reward
        except Exception as error:  # noqa: BLE001 - a caller's transport may raise anything
            return error

    return await asyncio.gather(*map(outcome, rewards))


async def gather_or_stop(works: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """Run coroutines concurrently; the first failure stops the others.

    Raises:
        Exception: The first failure.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


async def on_same_models(pools: Sequence[ReplicaPool], work: Callable[[], Awaitable[T]]) -> T:
    """Return the result of work in several parts that the same models did from beginning to end.

    The work begins when all models are verified, and again when one of them has changed.

    Raises:
        ResponseMismatchError: If a model changes each time.
        RewardClientError: If a model cannot be verified, or as the work.
    """
    for _ in range(MAX_CHANGES):
        before = [await pool.verified_baseline() for pool in pools]
        result = await work()
        if all(pool.baseline is one for pool, one in zip(pools, before, strict=True)):
            return result
    raise keeps_changing(pools[-1].baseline.url)


async def cleaned_by(
    pool: ReplicaPool, tokenizer: Tokenizer, conversation: Conversation
) -> Conversation:
    """Return a conversation as `Tokenizer.cleaned` does, by one server of a pool.

    Raises:
        RewardClientError: As `Tokenizer.cleaned`.
    """
    baseline = await pool.verified_baseline()
    if not tokenizer.may_hold_control_tokens(baseline.profile, baseline.rules, conversation):
        return conversation

    async def clean(replica: Replica, own: ServerState) -> Prompt:
        state = pool.rules_for(own)
        return await tokenizer.cleaned(replica.transport, state.profile, state.rules, conversation)

    cleaned = await pool.run(clean, "tokenizing", 1)
    assert isinstance(cleaned, Conversation)  # noqa: S101 - cleaning keeps the type
    return cleaned


def arithmetic_mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)
