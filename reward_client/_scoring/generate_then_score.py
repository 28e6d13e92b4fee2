"""Methods whose model writes first: the reward is read after a critique or a chain of thought."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import exp, log, log1p
from typing import TypeAlias

from reward_client._base.results import Provenance, Reward, TokenizedSample
from reward_client._base.samples import Conversation, Prompt
from reward_client._scoring.base import (
    Outcome,
    Scorer,
    gather_outcomes,
    on_same_models,
    reward_or_raise,
)
from reward_client._scoring.pooled import PooledScorer
from reward_client._scoring.text_generator import TextGenerator, Texts, author_of
from reward_client._server.state import ServerState
from reward_client.errors import InputError

Extend: TypeAlias = Callable[[Conversation, str, str], Conversation]
"""Makes the conversation that is scored from the original one, the instruction and the text."""

Mean: TypeAlias = Callable[[Sequence[float]], float]


class GenerateThenScore(Scorer):
    """Generates a text after each conversation, and scores the conversation with the text.

    Args:
        generator: Generates the texts.
        instruction: The instruction to the generator.
        extend: Makes a text part of the conversation.
        by_ids: Scores the longer conversations.
        mean: Makes one reward of the rewards of several votes.
    """

    def __init__(
        self,
        generator: TextGenerator,
        instruction: str,
        extend: Extend,
        by_ids: PooledScorer,
        mean: Mean,
    ) -> None:
        self._generator = generator
        self._instruction = instruction
        self._extend = extend
        self._by_ids = by_ids
        self._mean = mean
        self._pools = (generator.pool, by_ids.pool)
        self._made: dict[tuple[int, str], tuple[Provenance, Provenance]] = {}

    async def score(self, prompts: Sequence[Prompt]) -> list[Outcome]:
        """See `Scorer`."""
        return await gather_outcomes(map(self._score_one, prompts))

    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """See `Scorer`. The IDs lack the text, which is written later."""
        return await self._by_ids.tokenize(prompt)

    def provenances(self, pooled: Provenance, authors: Iterable[ServerState]) -> list[Provenance]:
        """See `Scorer`."""
        return [pooled.model_copy(update={"author": author_of(state)}) for state in authors]

    async def aclose(self) -> None:
        """See `Scorer`."""
        await self._by_ids.aclose()

    async def _score_one(self, prompt: Prompt) -> Reward:
        if not isinstance(prompt, Conversation):
            raise InputError(
                "Cannot score this sample: the method asks a model about a conversation. Give "
                "messages."
            )

        async def generate_and_score() -> Reward:
            answered = await self._by_ids.cleaned(await self._generator.cleaned(prompt))
            texts = await self._generator.generate(answered)
            longer = [self._extend(answered, self._instruction, text) for text in texts.each]
            rewards = map(reward_or_raise, await self._by_ids.score(longer))
            return self._merged([*rewards], texts)

        async with self._generator.slots:
            return await on_same_models(self._pools, generate_and_score)

    def _merged(self, rewards: Sequence[Reward], texts: Texts) -> Reward:
        first, *others = rewards
        fields: dict[str, object] = {
            "critiques": texts.each,
            "usage": texts.usage,
            "provenance": self._with_author(first.provenance, texts.author),
        }
        if others:
            scalars = [reward.scalar for reward in rewards if reward.scalar is not None]
            fields |= {
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
        return first.model_copy(update=fields)

    def _with_author(self, pooled: Provenance, author: str) -> Provenance:
        """Add the author; one object for all rewards of the same models."""
        key = id(pooled), author
        if key not in self._made:  # which keeps `pooled`, and thereby its address
            self._made[key] = pooled, pooled.model_copy(update={"author": author})
        return self._made[key][1]


def as_answer(conversation: Conversation, instruction: str, text: str) -> Conversation:
    """Append the instruction as the user's turn and the text as the assistant's."""
    return _extended(conversation, ("user", instruction), ("assistant", text))


def as_question(conversation: Conversation, instruction: str, text: str) -> Conversation:
    """Append one user's turn: the instruction, which the text continues."""
    return _extended(conversation, ("user", instruction + text))


def logit_of_mean(values: Sequence[float]) -> float:
    """Return the logit of the mean of the logits' probabilities.

    Computed by logarithms: in floating point the probability of a large logit is 1.
    """
    good = _log_sum(-_softplus(-value) for value in values)
    bad = _log_sum(-_softplus(value) for value in values)
    return good - bad


def _softplus(value: float) -> float:
    return max(value, 0.0) + log1p(exp(-abs(value)))


def _log_sum(logarithms: Iterable[float]) -> float:
    terms = [*logarithms]
    largest = max(terms)
    return largest + log(sum(exp(term - largest) for term in terms))


def _extended(conversation: Conversation, *turns: tuple[str, str]) -> Conversation:
    added = [{"role": role, "content": content} for role, content in turns]
    return Conversation(
        [*conversation.messages, *added],
        tools=conversation.tools,
        chat_template_kwargs=conversation.chat_template_kwargs,
    )
