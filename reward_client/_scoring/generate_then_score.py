"""The reward is read after something that a model wrote: a critique, or a chain of thought."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import exp, log, log1p
from typing import TypeAlias

from reward_client._base.results import Provenance, Reward, TokenizedSample
from reward_client._base.samples import Conversation, Prompt
from reward_client._scoring.base import Scorer, Settle, by_the_same, each_of
from reward_client._scoring.pooled import PooledScorer
from reward_client._scoring.text_generator import Texts, Writer
from reward_client.errors import InputError

Extend: TypeAlias = Callable[[Conversation, str, str], Conversation]
"""The conversation that is scored: of one, what the model was told, and what it wrote."""

Mean: TypeAlias = Callable[[Sequence[float]], float]


class WrittenScorer(Scorer):
    """Has a model write after each conversation, and what that makes of it scored.

    Args:
        writer: Has the texts written.
        told: What the model was told to write.
        extend: Makes a text part of the conversation.
        by_ids: Has the longer conversations scored.
        mean: Makes one reward of those of several votes.
    """

    def __init__(
        self, writer: Writer, told: str, extend: Extend, by_ids: PooledScorer, mean: Mean
    ) -> None:
        self._writer = writer
        self._told = told
        self._extend = extend
        self._by_ids = by_ids
        self._mean = mean
        self._pools = (writer.pool, by_ids.pool)
        self._last: tuple[Provenance, Provenance] | None = None

    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """See `Scorer`; without what is written only later."""
        return await self._by_ids.tokenize(prompt)

    async def score_each(self, prompts: Mapping[int, Prompt], settle: Settle) -> None:
        """See `Scorer`."""
        await each_of(prompts, settle, self._scored, self._writer.places)

    async def provenance(self, read: Provenance) -> Provenance:
        """See `Scorer`."""
        return self._joined(read, await self._writer.author())

    async def aclose(self) -> None:
        """See `Scorer`."""
        await self._by_ids.aclose()

    async def _scored(self, prompt: Prompt) -> Reward:
        if not isinstance(prompt, Conversation):
            raise InputError("This method asks a model about a conversation: give messages.")
        return await by_the_same(self._pools, partial(self._tried, prompt))

    async def _tried(self, prompt: Conversation) -> Reward:
        texts = await self._writer.written(prompt)
        outcomes: dict[int, Reward | Exception] = {}
        longer = {
            vote: self._extend(prompt, self._told, text) for vote, text in enumerate(texts.each)
        }
        await self._by_ids.score_each(longer, outcomes.update)
        rewards: list[Reward] = []
        for vote in range(len(longer)):
            outcome = outcomes[vote]
            if isinstance(outcome, Exception):
                raise outcome
            rewards.append(outcome)
        return self._merged(rewards, texts)

    def _merged(self, rewards: Sequence[Reward], texts: Texts) -> Reward:
        first, *others = rewards
        told: dict[str, object] = {
            "critiques": texts.each,
            "usage": texts.usage,
            "provenance": self._joined(first.provenance, texts.author),
        }
        if others:
            scalars = [reward.scalar for reward in rewards if reward.scalar is not None]
            told |= {
                "scalar": self._mean(scalars) if scalars else None,
                "objectives": {
                    name: self._mean([reward.objectives[name] for reward in rewards])
                    for name in first.objectives
                },
                # Each vote has its own.
                "token_count": None,
                "token_digest": None,
                "bos_count": None,
            }
        return first.model_copy(update=told)

    def _joined(self, read: Provenance, author: str) -> Provenance:
        """Where a reward came from, and who wrote: one object for all rewards of the same."""
        last = self._last
        if last is None or last[0] is not read or last[1].author != author:
            last = self._last = read, read.model_copy(update={"author": author})
        return last[1]


def as_answer(conversation: Conversation, told: str, text: str) -> Conversation:
    """The model was told something, and answered with a text."""
    return _extended(conversation, ("user", told), ("assistant", text))


def as_question(conversation: Conversation, told: str, text: str) -> Conversation:
    """The model went on with the user's turn."""
    return _extended(conversation, ("user", told + text))


def arithmetic_mean(values: Sequence[float]) -> float:
    """The mean."""
    return sum(values) / len(values)


def logit_of_mean(values: Sequence[float]) -> float:
    """The logit of the mean of the probabilities that logits stand for.

    As logarithms, since the probability of a large logit is 1 in floating point.
    """
    good = _log_sum(-_softplus(-value) for value in values)
    bad = _log_sum(-_softplus(value) for value in values)
    return good - bad


def _softplus(value: float) -> float:
    return max(value, 0.0) + log1p(exp(-abs(value)))


def _log_sum(logarithms: Iterable[float]) -> float:
    given = [*logarithms]
    most = max(given)
    return most + log(sum(exp(each - most) for each in given))


def _extended(conversation: Conversation, *turns: tuple[str, str]) -> Conversation:
    added = [{"role": role, "content": content} for role, content in turns]
    return Conversation(
        [*conversation.messages, *added],
        tools=conversation.tools,
        chat_template_kwargs=conversation.chat_template_kwargs,
    )
