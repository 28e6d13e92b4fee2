"""The method `Verdict`: a judge writes about one answer, or compares two."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import TypeAlias

from reward_client._base.contest import Contest, Ranked
from reward_client._base.ranking import Comparison, FailedComparison, Ranking, ranking
from reward_client._base.results import Provenance, Reward, TokenizedSample
from reward_client._base.samples import Conversation, Prompt
from reward_client._protocols.written import Position
from reward_client._scoring.base import (
    Outcome,
    Scorer,
    arithmetic_mean,
    gather_or_stop,
    gather_outcomes,
    on_same_models,
)
from reward_client._scoring.text_generator import TextGenerator, Texts
from reward_client._scoring.tournament import next_round, shares_of, survival, win_rates
from reward_client.errors import (
    BatchError,
    InputError,
    ModelChangedError,
    RewardClientError,
    ServerUnreachableError,
)
from reward_client.methods.expectation import candidates, expectation, is_rest, not_a_token
from reward_client.methods.schedules import Pair, matches, pairs_of
from reward_client.methods.verdict import Verdict, text_of

_Compared: TypeAlias = Comparison | FailedComparison

_OF_ALL = (ServerUnreachableError, ModelChangedError)
"""Errors that all further comparisons would have too."""


class JudgeScorer(Scorer):
    """Lets a judge write, and parses its verdicts.

    Args:
        generator: Generates the judge's texts.
        verdict: The method: the judge's prompt and the parser of its texts.
        max_contests: The most contests in progress. Each has a task for each of its comparisons.
    """

    def __init__(self, generator: TextGenerator, verdict: Verdict, max_contests: int) -> None:
        self._generator = generator
        self.verdict = verdict
        self._contests = asyncio.Semaphore(max_contests)

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

    async def rank(self, conversations: Sequence[Conversation], *, stops: bool) -> Ranking:
        """Rank the last turns of conversations by comparisons of pairs.

        Args:
            conversations: Conversations that differ in their last turn only.
            stops: True to stop at the first failure, False to rank the other responses.

        Raises:
            BatchError: If a comparison failed, under ``stops``.
            RewardClientError: If a model cannot be verified; under ``stops``, if a response cannot
                be read.
        """
        ranked, _ = await self._ranked(conversations, stops=stops)
        return ranked

    async def _ranked(
        self, conversations: Sequence[Conversation], *, stops: bool
    ) -> tuple[Ranking, Provenance]:
        """Return the ranking of `rank`, and the provenance of its rewards."""
        cleaned = [await self._cleaned(each, stops=stops) for each in conversations]
        responses = [
            _text_of_answer(given if isinstance(each, RewardClientError) else each)
            for each, given in zip(cleaned, conversations, strict=True)
        ]
        errors = {i: each for i, each in enumerate(cleaned) if isinstance(each, RewardClientError)}
        entrants = [index for index in range(len(responses)) if index not in errors]

        async def compare_all() -> tuple[list[_Compared], Provenance]:
            compared = await self._compare_all(conversations[0], responses, entrants, stops=stops)
            return compared, await self._generator.provenance()

        try:
            compared, provenance = await on_same_models([self._generator.pool], compare_all)
        except RewardClientError as error:
            if not stops:
                raise
            raise BatchError(f"Cannot compare two responses: {error}") from error
        comparisons = [each for each in compared if isinstance(each, Comparison)]
        failed = [each for each in compared if isinstance(each, FailedComparison)]
        # Strengths of many responses may take a tenth of a second, and hold up nobody.
        rates = await asyncio.to_thread(self._rates, entrants, comparisons, failed)
        outcomes = [
            errors[index]
            if index in errors
            else Reward.of_checked(scalar=rates[index], provenance=provenance)
            if index in rates
            else _error_of(index, failed)
            for index in range(len(responses))
        ]
        return ranking(responses, outcomes, comparisons, failed), provenance

    async def aclose(self) -> None:
        """See `Scorer`."""

    async def _score_one(self, prompt: Prompt) -> Reward:
        if isinstance(prompt, Contest):
            return await self._score_contest(prompt)
        async with self._generator.slots:
            asked = self._judge_prompt(prompt)
            if isinstance(prompt, Conversation):
                asked = self._judge_prompt(await self._generator.cleaned(prompt))
            texts = await self._generator.generate(asked)
        mean = await self._mean(texts)
        reward = Reward.of_checked(scalar=mean, provenance=texts.provenance)
        return reward.model_copy(update={"critiques": texts.each, "usage": texts.usage})

    async def _score_contest(self, contest: Contest) -> Ranked:
        """Return the rewards of all responses, and the errors of those without one.

        Raises:
            RewardClientError: If nothing could be compared, or if the server is lost or another: a
                run that resumes compares all of them again.
        """
        async with self._contests:
            ranked, provenance = await self._ranked(contest.conversations, stops=False)
        errors = [error for error in ranked.errors if error is not None]
        errors += [each.error for each in ranked.failed_comparisons]
        lost = [each for each in errors if isinstance(each, _OF_ALL)]
        if lost or not (ranked.comparisons or ranked.failed_comparisons):
            raise copy((lost or errors)[0])
        return Ranked.of(ranked, provenance)

    def _judge_prompt(self, prompt: Prompt) -> Conversation:
        """Return the judge's prompt for a conversation that ends with an answer."""
        if self.verdict.compares:
            raise InputError(
                "This judge compares two answers: use rank(prompt, [answer, …]), or rows with "
                "several answers."
            )
        if not isinstance(prompt, Conversation) or prompt.steps is not None:
            raise InputError("A judge reads messages: give them, without steps.")
        if prompt.tools is not None:
            raise InputError("A judge is sent messages, and no tools: leave tools= out.")
        answer = prompt.messages[-1]
        if answer.get("role") != "assistant":
            raise InputError("A judge marks the assistant's answer, and the last message is none.")
        return self._asked(prompt, [text_of(answer)])

    def _asked(self, prompt: Conversation, answers: Sequence[str]) -> Conversation:
        """Return the judge's prompt for a conversation with other answers in its last turn."""
        asked = self.verdict.judge_prompt(prompt.messages[:-1], answers)
        return replace(asked, chat_template_kwargs=prompt.chat_template_kwargs)

    async def _cleaned(
        self, conversation: Conversation, *, stops: bool
    ) -> Conversation | RewardClientError:
        try:
            return await self._generator.cleaned(conversation)
        except RewardClientError as error:
            if stops:
                raise
            return error

    def _rates(
        self,
        entrants: Sequence[int],
        comparisons: Sequence[Comparison],
        failed: Sequence[FailedComparison],
    ) -> dict[int, float]:
        if self.verdict.schedule != "knockout":
            return win_rates(entrants, comparisons, failed)
        return {} if failed else survival(entrants, comparisons)

    async def _compare_all(
        self,
        prompt: Conversation,
        responses: Sequence[str],
        entrants: Sequence[int],
        *,
        stops: bool,
    ) -> list[_Compared]:
        """Compare entrants by the schedule of the judge."""
        compare = partial(self._compare_pairs, prompt, responses, stops=stops)
        schedule = self.verdict.schedule
        if schedule != "knockout":
            return await compare(pairs_of(schedule, entrants, self.verdict.seed))
        compared: list[_Compared] = []
        standing = [*entrants]
        while len(standing) > 1:
            pairs, _ = matches(standing)
            this_round = await compare(pairs)
            compared += this_round
            decided = [each for each in this_round if isinstance(each, Comparison)]
            if len(decided) < len(this_round):
                break  # nobody knows who goes on
            standing = next_round(standing, shares_of(decided))
        return compared

    async def _compare_pairs(
        self,
        prompt: Conversation,
        responses: Sequence[str],
        pairs: Sequence[Pair],
        *,
        stops: bool,
    ) -> list[_Compared]:
        """Compare the two of each pair, in one order or both."""
        ordered = [*pairs]
        if self.verdict.both_orders:
            ordered += [(second, first) for first, second in pairs]
        return await gather_or_stop(
            self._compare(prompt, responses, *pair, stops=stops) for pair in ordered
        )

    async def _compare(
        self,
        prompt: Conversation,
        responses: Sequence[str],
        first: int,
        second: int,
        *,
        stops: bool,
    ) -> _Compared:
        try:
            asked = self._asked(prompt, [responses[first], responses[second]])
            async with self._generator.slots:
                texts = await self._generator.generate(asked)
            preference = await self._mean(texts)
        except RewardClientError as error:
            if stops:
                raise
            return FailedComparison(first=first, second=second, error=error)
        return Comparison(
            first=first,
            second=second,
            preference=preference,
            critiques=texts.each,
            usage=texts.usage,
        )

    async def _mean(self, texts: Texts) -> float:
        """Return the mean of the verdicts."""
        if self.verdict.expected:
            return arithmetic_mean(
                [
                    await self._expectation(text, positions, texts.labels)
                    for text, positions in zip(texts.each, texts.positions, strict=True)
                ]
            )

        def mean() -> float:
            return arithmetic_mean([self.verdict.value(text) for text in texts.each])

        return await asyncio.to_thread(mean)  # a search may take a second, and holds up nobody

    async def _expectation(
        self, text: str, positions: Sequence[Position], labels: Mapping[str, Collection[int]]
    ) -> float:
        label, end = await asyncio.to_thread(self.verdict.label, text)
        for index in candidates(positions, labels[label]):
            after = [each.token for each in positions[index + 1 :]]
            of_all, of_last = [await self._generator.text_of(ids) for ids in (after, after[-1:])]
            if is_rest(text, end, of_all, of_last):
                values = self.verdict.values or {}
                return expectation(values, labels, positions[index], text)
        raise not_a_token(label, text)


def _text_of_answer(conversation: Conversation) -> str:
    return str(conversation.messages[-1]["content"])


def _error_of(index: int, failed: Sequence[FailedComparison]) -> RewardClientError:
    """Return the error of a response's first comparison that failed, or else of any."""
    own = [each for each in failed if index in (each.first, each.second)]
    return copy((own or failed)[0].error)
