"""The reward is had from the messages, which the server tokenizes in the scoring request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from reward_client._base.options import Limits
from reward_client._base.results import Reward, TokenizedSample
from reward_client._base.samples import Conversation, Prompt
from reward_client._replicas.pool import Baseline, Replica, ReplicaPool
from reward_client._scoring.base import MAX_BASELINES, Scorer, Settle, always_another
from reward_client._scoring.batcher import Batcher, Scored
from reward_client._scoring.pooled import PooledScorer
from reward_client._server.chat_requests import Turns, check_servable, scored_turns
from reward_client._server.requests import untold_reward
from reward_client._server.state import ServerState, is_same
from reward_client._tokenization.local_tokenizer import is_plain
from reward_client._tokenization.spot_checks import SpotChecks
from reward_client.errors import ResponseMismatchError, RewardClientError
from reward_client.heads import Scores


@dataclass(slots=True)
class _Trial:
    """What holds for the servers as they are."""

    baseline: Baseline
    batcher: Batcher[Turns]
    comparisons: SpotChecks = field(default_factory=SpotChecks)


class MessagesScorer(Scorer):
    """Has conversations scored from their messages, several in a request where the server can.

    Args:
        pool: The servers.
        limits: How much goes into a request.
        by_ids: Has prompts scored by their token IDs: those that are compared, and those that are
            no plain conversations.
    """

    def __init__(self, pool: ReplicaPool, limits: Limits, by_ids: PooledScorer) -> None:
        self._pool = pool
        self._limits = limits
        self._by_ids = by_ids
        self._trial: _Trial | None = None

    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """See `Scorer`."""
        return await self._by_ids.tokenize(prompt)

    async def score_each(self, prompts: Mapping[int, Prompt], settle: Settle) -> None:
        """See `Scorer`."""
        left: Mapping[int, Conversation] = {
            number: prompt
            for number, prompt in prompts.items()
            if isinstance(prompt, Conversation) and (_is_bare(prompt) or _has_others(prompt))
        }
        others = {number: prompts[number] for number in prompts if number not in left}
        if others:
            await self._by_ids.score_each(others, settle)
        for _ in range(MAX_BASELINES):
            if not left:
                return
            left = await self._tried(left, settle)
        raise always_another(self._pool)

    async def aclose(self) -> None:
        """See `Scorer`."""
        if self._trial is not None:
            await self._trial.batcher.aclose()
        await self._by_ids.aclose()

    async def _tried(
        self, prompts: Mapping[int, Conversation], settle: Settle
    ) -> Mapping[int, Conversation]:
        """Has conversations scored; returns those that must be done again, for another model."""
        again: dict[int, Conversation] = {}

        def hear(outcomes: Mapping[int, Scored | Exception | None]) -> None:
            settled: dict[int, Reward | Exception] = {}
            for number, outcome in outcomes.items():
                if outcome is None:
                    again[number] = prompts[number]
                elif isinstance(outcome, Exception):
                    settled[number] = outcome
                else:
                    settled[number] = untold_reward(*outcome)
            settle(settled)

        async def unproven(number: int) -> None:
            prompt = prompts[number]
            async with trial.comparisons.turn(prompt) as is_due:
                if is_due:
                    try:
                        settle({number: await self._compared(trial, prompt)})
                    except Exception as error:  # noqa: BLE001 - a caller's transport may raise any
                        settle({number: error})
                    return
            await trial.batcher.score(trial.baseline, {number: Turns.of(prompt)}, hear)

        trial = self._trial_of(await self._pool.assured())
        check_servable(trial.baseline.serving)
        proven = [
            number
            for number, prompt in prompts.items()
            if _has_others(prompt) or trial.comparisons.passes(prompt)
        ]
        turns = {number: Turns.of(prompts[number]) for number in proven}
        async with asyncio.TaskGroup() as group:
            for number in prompts:
                if number not in turns:
                    group.create_task(unproven(number))
            await trial.batcher.score(trial.baseline, turns, hear)
        return again

    def _trial_of(self, baseline: Baseline) -> _Trial:
        if self._trial is None or self._trial.baseline is not baseline:
            limits = self._limits
            if baseline.serving.conversations is None:
                limits = limits.model_copy(update={"max_batch_items": 1})
            self._trial = _Trial(baseline, Batcher(self._pool, limits, scored_turns))
        return self._trial

    async def _compared(self, trial: _Trial, prompt: Conversation) -> Reward:
        """The reward by token IDs, where the messages give the same.

        Raises:
            ResponseMismatchError: They give another one, or become another number of tokens.
        """
        reward = await self._by_ids.score(prompt)
        turns = Turns.of(prompt)
        alone = partial(self._alone, turns, reward.token_count)
        scores = await self._pool.at_one(alone, "scoring", turns.size)
        values = [reward.scalar or 0.0, *reward.objectives.values()]
        if not is_same([scores.value or 0.0, *scores.objectives.values()], values):
            trial.comparisons = SpotChecks()  # what agreed before proves nothing any more
            raise ResponseMismatchError(
                f"The server gives {scores.value} for the messages and {reward.scalar} for the "
                f"{reward.token_count} token IDs that /tokenize makes of them: leave "
                "method=Messages() out."
            )
        trial.comparisons.agreed(prompt)
        return reward

    async def _alone(
        self, turns: Turns, tokens: int | None, server: Replica, serving: ServerState
    ) -> Scores:
        (scores,) = await scored_turns(server.transport, serving, [turns], tokens)
        if isinstance(scores, RewardClientError):
            raise scores
        return scores


def _is_bare(conversation: Conversation) -> bool:
    """Whether there is nothing but messages of text."""
    return _is_alone(conversation) and is_plain(conversation)


def _has_others(conversation: Conversation) -> bool:
    """Whether messages hold what no token ID stands for: there is nothing to compare them with."""
    return _is_alone(conversation) and bool(conversation.other_parts())


def _is_alone(conversation: Conversation) -> bool:
    extras = (conversation.tools, conversation.chat_template_kwargs, conversation.steps)
    return extras == (None, None, None)
