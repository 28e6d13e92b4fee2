"""The reward is what a judge writes of one answer, or of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
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
from reward_client._scoring.base import Scorer, Settle, by_the_same, each_of, together
from reward_client._scoring.generate_then_score import arithmetic_mean
from reward_client._scoring.text_generator import Texts, Writer
from reward_client.errors import BatchError, InputError, RewardClientError
from reward_client.methods.verdict import Verdict, text_of


class JudgedScorer(Scorer):
    """Has a judge write, and reads its verdicts.

    Args:
        writer: Has the texts written.
        verdict: How the judge is asked, and its texts are read.
    """

    def __init__(self, writer: Writer, verdict: Verdict) -> None:
        self._writer = writer
        self.verdict = verdict

    @property
    def compares(self) -> bool:
        """See `Scorer`."""
        return self.verdict.compares

    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """See `Scorer`: of what the judge is sent."""
        return await self._writer.tokenize(self._asked(prompt))

    async def score_each(self, prompts: Mapping[int, Prompt], settle: Settle) -> None:
        """See `Scorer`."""
        await each_of(prompts, settle, self._marked, self._writer.places)

    async def rank(self, conversations: Sequence[Conversation]) -> Ranking:
        """The last turns of conversations, ranked by how they compare: a round robin.

        Raises:
            BatchError: A comparison failed.
        """
        responses = [str(each.messages[-1]["content"]) for each in conversations]
        work = partial(self._compared, conversations[0].messages[:-1], responses)
        try:
            comparisons, provenance = await by_the_same([self._writer.pool], work)
        except RewardClientError as error:
            raise BatchError(f"Two responses could not be compared: {error}") from error
        rewards = [
            _reward(_win_rate(place, comparisons), provenance) for place in range(len(responses))
        ]
        return ranking(responses, rewards, comparisons)

    async def aclose(self) -> None:
        """See `Scorer`."""

    def _asked(self, prompt: Prompt) -> Conversation:
        """What the judge is sent of a conversation that ends with an answer."""
        if self.verdict.compares:
            raise InputError("This judge compares two answers: use rank(prompt, [answer, …]).")
        if not isinstance(prompt, Conversation) or prompt.steps is not None:
            raise InputError("A judge reads messages: give them, without steps.")
        if prompt.tools is not None:
            raise InputError("A judge is sent messages, and no tools: leave tools= out.")
        *turns, answer = prompt.messages
        if answer.get("role") != "assistant":
            raise InputError("A judge marks the assistant's answer, and the last message is none.")
        asked = self.verdict.asked(turns, [text_of(answer)])
        return replace(asked, chat_template_kwargs=prompt.chat_template_kwargs)

    async def _marked(self, prompt: Prompt) -> Reward:
        texts = await self._writer.written(self._asked(prompt))
        reward = _reward(self._mean(texts), texts.provenance)
        return reward.model_copy(update={"critiques": texts.each, "usage": texts.usage})

    async def _compared(
        self, turns: Sequence[Message], responses: Sequence[str]
    ) -> tuple[list[Comparison], Provenance]:
        """Each with each, in one order or both; one response with nothing. And who compared."""
        pairs = [*combinations(range(len(responses)), 2)]
        if self.verdict.both_orders:
            pairs += [(other, one) for one, other in pairs]
        compared = await together(self._comparison(turns, responses, *pair) for pair in pairs)
        return compared, await self._writer.provenance()

    async def _comparison(
        self, turns: Sequence[Message], responses: Sequence[str], one: int, other: int
    ) -> Comparison:
        asked = self.verdict.asked(turns, [responses[one], responses[other]])
        async with self._writer.places:
            texts = await self._writer.written(asked)
        return Comparison(
            first=one,
            second=other,
            preference=self._mean(texts),
            critiques=texts.each,
            usage=texts.usage,
        )

    def _mean(self, texts: Texts) -> float:
        return arithmetic_mean([self.verdict.value(text) for text in texts.each])


def _win_rate(place: int, comparisons: Sequence[Comparison]) -> float:
    """How often a response is better, from 0 to 1; one that is alone is as good as itself."""
    shares = [
        (1 + (each.preference if place == each.first else -each.preference)) / 2
        for each in comparisons
        if place in (each.first, each.second)
    ]
    return arithmetic_mean(shares) if shares else 0.5


def _reward(value: float, provenance: Provenance) -> Reward:
    return Reward.of_checked(
        scalar=value,
        steps=(),
        objectives={},
        token_count=None,
        token_digest=None,
        bos_count=None,
        truncated=False,
        provenance=provenance,
    )
