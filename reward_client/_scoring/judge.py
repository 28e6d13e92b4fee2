"""The method `Verdict`: a judge writes about one answer, or compares two."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from reward_client._base.results import (
    Comparison,
    Provenance,
    Ranking,
    Reward,
    TokenizedSample,
    ranking,
)
from reward_client._base.samples import Conversation, Message, Prompt
from reward_client._scoring.base import (
    Outcome,
    Scorer,
    arithmetic_mean,
    gather_or_stop,
    gather_outcomes,
    on_same_models,
)
from reward_client._scoring.text_generator import TextGenerator, Texts
from reward_client.errors import BatchError, InputError, RewardClientError
from reward_client.methods.verdict import Verdict, text_of


class JudgeScorer(Scorer):
    """Lets a judge write, and parses its verdicts.

    Args:
        generator: Generates the judge's texts.
        verdict: The method: the judge's prompt and the parser of its texts.
    """

    def __init__(self, generator: TextGenerator, verdict: Verdict) -> None:
        self._generator = generator
        self.verdict = verdict

    @property
    def compares(self) -> bool:
        """See `Scorer`."""
        return self.verdict.compares

    async def score(self, prompts: Sequence[Prompt]) -> list[Outcome]:
        """See `Scorer`."""
        return await gather_outcomes(map(self._score_one, prompts))

    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """See `Scorer`. The IDs belong to the judge's prompt."""
        return await self._generator.tokenize(self._judge_prompt(prompt))

    async def rank(self, conversations: Sequence[Conversation]) -> Ranking:
        """Rank the last turns of conversations by a round robin of comparisons.

        Raises:
            BatchError: If a comparison failed.
        """
        cleaned = [await self._generator.cleaned(each) for each in conversations]
        responses = [str(each.messages[-1]["content"]) for each in cleaned]
        turns = cleaned[0].messages[:-1]

        async def compare_all() -> tuple[list[Comparison], Provenance]:
            comparisons = await self._compare_all(turns, responses)
            return comparisons, await self._generator.provenance()

        try:
            comparisons, provenance = await on_same_models([self._generator.pool], compare_all)
        except RewardClientError as error:
            raise BatchError(f"Cannot compare two responses: {error}") from error
        rewards = [
            Reward.of_checked(scalar=_win_rate(index, comparisons), provenance=provenance)
            for index in range(len(responses))
        ]
        return ranking(responses, rewards, comparisons)

    async def aclose(self) -> None:
        """See `Scorer`."""

    async def _score_one(self, prompt: Prompt) -> Reward:
        async with self._generator.slots:
            asked = self._judge_prompt(prompt)
            if isinstance(prompt, Conversation):
                asked = self._judge_prompt(await self._generator.cleaned(prompt))
            texts = await self._generator.generate(asked)
        mean = await self._mean(texts)
        reward = Reward.of_checked(scalar=mean, provenance=texts.provenance)
        return reward.model_copy(update={"critiques": texts.each, "usage": texts.usage})

    def _judge_prompt(self, prompt: Prompt) -> Conversation:
        """Return the judge's prompt for a conversation that ends with an answer."""
        if self.verdict.compares:
            raise InputError("This judge compares two answers: use rank(prompt, [answer, …]).")
        if not isinstance(prompt, Conversation) or prompt.steps is not None:
            raise InputError("A judge reads messages: give them, without steps.")
        if prompt.tools is not None:
            raise InputError("A judge is sent messages, and no tools: leave tools= out.")
        *turns, answer = prompt.messages
        if answer.get("role") != "assistant":
            raise InputError("A judge marks the assistant's answer, and the last message is none.")
        asked = self.verdict.judge_prompt(turns, [text_of(answer)])
        return replace(asked, chat_template_kwargs=prompt.chat_template_kwargs)

    async def _compare_all(
        self, turns: Sequence[Message], responses: Sequence[str]
    ) -> list[Comparison]:
        """Compare each response with each other one, in one order or both."""
        pairs = [*combinations(range(len(responses)), 2)]
        if self.verdict.both_orders:
            pairs += [(second, first) for first, second in pairs]
        return await gather_or_stop(self._compare(turns, responses, *pair) for pair in pairs)

    async def _compare(
        self, turns: Sequence[Message], responses: Sequence[str], first: int, second: int
    ) -> Comparison:
        asked = self.verdict.judge_prompt(turns, [responses[first], responses[second]])
        async with self._generator.slots:
            texts = await self._generator.generate(asked)
        return Comparison(
            first=first,
            second=second,
            preference=await self._mean(texts),
            critiques=texts.each,
            usage=texts.usage,
        )

    async def _mean(self, texts: Texts) -> float:
        """Return the mean of the verdicts. A search may take a second, and holds up nobody."""

        def mean() -> float:
            return arithmetic_mean([self.verdict.value(text) for text in texts.each])

        return await asyncio.to_thread(mean)


def _win_rate(index: int, comparisons: Sequence[Comparison]) -> float:
    """Return how often a response is better, from 0 to 1; 0.5 for a response that is alone."""
    shares = [
        (1 + (each.preference if index == each.first else -each.preference)) / 2
        for each in comparisons
        if index in (each.first, each.second)
    ]
    return arithmetic_mean(shares) if shares else 0.5
