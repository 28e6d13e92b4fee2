"""The method `Messages`: the server tokenizes the messages in the scoring request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from itertools import accumulate, cycle, islice

from reward_client._base.options import Limits
from reward_client._base.results import Reward, TokenizedSample
from reward_client._base.samples import Conversation, Prompt
from reward_client._replicas.pool import Replica
from reward_client._scoring.base import Outcome, Scorer
from reward_client._scoring.batcher import Batcher
from reward_client._scoring.pooled import BatchScorer, PooledScorer
from reward_client._server.agreement import main_number, may_be_same, ranges_of
from reward_client._server.requests import ChatPrompt, check_takes_messages, score_messages
from reward_client._server.state import ServerState, is_same
from reward_client._tokenization.local_tokenizer import is_plain
from reward_client._tokenization.spot_checks import SpotChecks
from reward_client.errors import ResponseMismatchError, RewardClientError
from reward_client.heads import Scores

_KNOWN = 8


@dataclass(slots=True)
class _Trial:
    """The batches and the spot checks of one baseline.

    Attributes:
        limits: The size of a batch that the server takes.
        known: Conversations with the reward of their token IDs.
        is_full_proven: True if the rows of the largest request were compared.
        proving: Held by whoever does so.
    """

    baseline: ServerState
    limits: Limits
    batcher: Batcher
    checks: SpotChecks = field(default_factory=SpotChecks)
    known: list[tuple[ChatPrompt, Reward]] = field(default_factory=list[tuple[ChatPrompt, Reward]])
    is_full_proven: bool = False
    proving: asyncio.Lock = field(default_factory=asyncio.Lock)


class MessagesScorer(BatchScorer):
    """Scores conversations from their messages, several in a request if the server can.

    Args:
        limits: The size of a batch.
        by_ids: Scores token IDs: for spot checks, and for prompts that are not plain conversations.

    Attributes:
        trial: The batches and spot checks of the current baseline; None before the first sample.
    """

    def __init__(self, limits: Limits, by_ids: PooledScorer) -> None:
        super().__init__(by_ids.pool)
        self._limits = limits
        self._by_ids = by_ids
        self.trial: _Trial | None = None

    def take_over(self, earlier: Scorer) -> None:
        """See `Scorer`."""
        if isinstance(earlier, MessagesScorer) and earlier.trial is not None:
            trial = self._trial_of(earlier.trial.baseline)
            trial.checks.take_over(earlier.trial.checks)
            trial.is_full_proven = earlier.trial.is_full_proven

    async def score(self, prompts: Sequence[Prompt]) -> list[Outcome]:
        """See `Scorer`."""
        by_messages = [prompt for prompt in prompts if _takes_messages(prompt)]
        by_ids = [prompt for prompt in prompts if not _takes_messages(prompt)]
        scored = iter(await super().score(by_messages) if by_messages else [])
        others = iter(await self._by_ids.score(by_ids) if by_ids else [])
        return [next(scored if _takes_messages(prompt) else others) for prompt in prompts]

    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """See `Scorer`."""
        return await self._by_ids.tokenize(prompt)

    async def aclose(self) -> None:
        """See `Scorer`."""
        if self.trial is not None:
            await self.trial.batcher.aclose()
        await self._by_ids.aclose()

    async def _score_once(
        self, baseline: ServerState, prompts: Sequence[Prompt]
    ) -> list[Outcome | None]:
        trial = self._trial_of(baseline)
        check_takes_messages(baseline)
        conversations = [prompt for prompt in prompts if isinstance(prompt, Conversation)]
        outcomes: list[Outcome | None] = [None] * len(conversations)
        for index, each in enumerate(conversations):
            try:
                conversations[index] = await self._by_ids.cleaned(each)
            except Exception as error:  # noqa: BLE001 - a caller's transport may raise anything
                outcomes[index] = error
        unproven = [
            index
            for index, each in enumerate(conversations)
            if outcomes[index] is None
            and not (_has_other_parts(each) or trial.checks.may_skip(each))
        ]
        checks = (self._spot_check(trial, conversations[index]) for index in unproven)
        for index, outcome in zip(unproven, await asyncio.gather(*checks), strict=True):
            outcomes[index] = outcome
        left = [index for index, outcome in enumerate(outcomes) if outcome is None]
        try:
            await self._prove_full(trial, len(left))
        except ResponseMismatchError as error:
            return [copy(error) if outcome is None else outcome for outcome in outcomes]
        chats = [ChatPrompt.of(conversations[index]) for index in left]
        for index, outcome in zip(left, await trial.batcher.score(baseline, chats), strict=True):
            outcomes[index] = outcome
        return outcomes

    def _trial_of(self, baseline: ServerState) -> _Trial:
        if self.trial is None or self.trial.baseline is not baseline:
            limits = self._limits
            if baseline.strategy.conversations is None:
                limits = limits.model_copy(update={"max_batch_items": 1})
            self.trial = _Trial(baseline, limits, Batcher(self.pool, limits))
        return self.trial

    async def _prove_full(self, trial: _Trial, waiting: int) -> None:
        """Compare the rows of the largest request, once before any is needed.

        Raises:
            ResponseMismatchError: If the rewards are not those of the token IDs.
        """
        async with trial.proving:
            limits = trial.limits
            if trial.is_full_proven or min(waiting, len(trial.known), limits.max_batch_items) < 2:
                return
            rows = [*islice(cycle(trial.known), limits.max_batch_items)]
            ends = accumulate(chat.size for chat, _ in rows)
            rows = rows[: sum(end <= limits.max_batch_tokens for end in ends)]
            chats = [chat for chat, _ in rows]

            async def score_rows(
                replica: Replica, state: ServerState
            ) -> list[Scores | RewardClientError]:
                return await score_messages(replica.transport, state, chats)

            try:
                scored = await self.pool.run(
                    score_rows, "scoring", sum(chat.size for chat in chats)
                )
            except RewardClientError:  # it proves nothing: the requests of the samples get it too
                return
            for (_, reward), scores in zip(rows, scored, strict=True):
                if isinstance(scores, Scores):
                    _check_in_batch(trial, scores, Scores.of(reward))
            trial.is_full_proven = True

    async def _spot_check(self, trial: _Trial, prompt: Conversation) -> Outcome | None:
        """Return the reward of a conversation that is compared; None if it need not be."""
        async with trial.checks.turn(prompt) as is_due:
            try:
                return await self._compare(trial, prompt) if is_due else None
            except Exception as error:  # noqa: BLE001 - a caller's transport may raise anything
                return error

    async def _compare(self, trial: _Trial, prompt: Conversation) -> Reward:
        """Return the reward by token IDs, if the messages give the same, alone and in a batch.

        Raises:
            ResponseMismatchError: If they give another reward, or another number of tokens.
        """
        chat = ChatPrompt.of(prompt)
        in_batch = None
        if trial.limits.max_batch_items > 1:
            # Before anything else: samples that are compared at the same time then share a batch.
            (in_batch,) = await trial.batcher.score(trial.baseline, [chat])
        reward = await self._by_ids.score_one(prompt)

        async def score_alone(replica: Replica, state: ServerState) -> Scores:
            (scores,) = await score_messages(replica.transport, state, [chat], reward.token_count)
            if isinstance(scores, RewardClientError):
                raise scores
            return scores

        scores = await self.pool.run(score_alone, "scoring", chat.size)
        values = [reward.scalar or 0.0, *reward.objectives.values()]
        if not is_same([scores.value or 0.0, *scores.objectives.values()], values):
            trial.checks = SpotChecks()  # earlier agreement proves nothing any more
            raise ResponseMismatchError(
                f"Cannot use method=Messages(): the server gives {scores.value} for the messages "
                f"and {reward.scalar} for the {reward.token_count} token IDs that /tokenize makes "
                "of them. Leave method= out."
            )
        if isinstance(in_batch, Reward):
            _check_in_batch(trial, Scores.of(in_batch), Scores.of(reward))
        trial.checks.mark_agreed(prompt)
        if len(trial.known) < _KNOWN:
            trial.known.append((chat, reward))
        return reward


def _check_in_batch(trial: _Trial, in_batch: Scores, by_ids: Scores) -> None:
    """Compare the reward of messages in a batch with that of their token IDs.

    Raises:
        ResponseMismatchError: If the other conversations of the batch do not explain it.
    """
    baseline = trial.baseline
    if not may_be_same(baseline, in_batch, by_ids, ranges_of(baseline, (in_batch, by_ids))):
        trial.checks = SpotChecks()
        raise ResponseMismatchError(
            f"Cannot use method=Messages(): the server gives {main_number(in_batch):.6g} for "
            f"messages in a batch, and {main_number(by_ids):.6g} for their token IDs. The server "
            "or a gateway mixes up the conversations of a request. Leave method= out."
        )


def _takes_messages(prompt: Prompt) -> bool:
    """Return True for a conversation of nothing but messages."""
    if not isinstance(prompt, Conversation):
        return False
    extras = (prompt.tools, prompt.chat_template_kwargs, prompt.steps)
    return extras == (None, None, None) and (is_plain(prompt) or _has_other_parts(prompt))


def _has_other_parts(conversation: Conversation) -> bool:
    """Return True for parts without token IDs, such as images: nothing to compare them with."""
    return bool(conversation.other_parts())
