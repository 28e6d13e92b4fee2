"""A contest: responses to one prompt as one sample, for a judge that compares two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from reward_client._base.ranking import Ranking
from reward_client._base.results import Provenance, Reward
from reward_client._base.samples import Conversation
from reward_client.errors import RewardClientError

ErrorT = TypeVar("ErrorT", bound=Exception)


@dataclass(frozen=True, slots=True)
class Contest(Conversation):
    """Conversations that differ in their last turn only, as one sample of a stream.

    It has the messages of the first conversation, so that whoever checks a conversation checks the
    common prompt.

    Attributes:
        conversations: One conversation for each response.
    """

    conversations: tuple[Conversation, ...] = ()

    @classmethod
    def of(cls, conversations: tuple[Conversation, ...]) -> Contest:
        """Return the contest of some conversations."""
        first = conversations[0]
        return cls(
            first.messages,
            chat_template_kwargs=first.chat_template_kwargs,
            conversations=conversations,
        )


class Ranked(Reward):
    """The outcome of a contest. Its own value is the highest reward, if there is one.

    Attributes:
        ranking: The ranking, with a reward or an error for each response.
    """

    ranking: Ranking

    @classmethod
    def of(cls, ranking: Ranking, provenance: Provenance) -> Ranked:
        """Return the outcome of a contest whose comparisons have a provenance."""
        best = ranking.rewards[ranking.best_index] if ranking.order else None
        return cls(
            value=None if best is None else best.scalar,
            token_count=None,
            token_digest=None,
            bos_count=None,
            provenance=provenance,
            ranking=ranking,
        )


def outcomes_of(
    outcome: Reward | ErrorT, responses: int
) -> list[Reward | ErrorT | RewardClientError]:
    """Return the outcome of each response from the outcome of their contest.

    Args:
        outcome: The outcome of the contest. An error counts for each response.
        responses: The number of responses.
    """
    if not isinstance(outcome, Ranked):
        return [outcome] * responses
    pairs = zip(outcome.ranking.rewards, outcome.ranking.errors, strict=True)
    return [each for pair in pairs for each in pair if each is not None]


def errors_of(outcome: Reward | RewardClientError) -> Iterator[RewardClientError]:
    """Iterate over the errors in an outcome, those of a contest's comparisons included."""
    if isinstance(outcome, RewardClientError):
        yield outcome
    elif isinstance(outcome, Ranked):
        yield from (error for error in outcome.ranking.errors if error is not None)
        yield from (each.error for each in outcome.ranking.failed_comparisons)


def comparisons_of(outcomes: Iterable[object]) -> tuple[int, Counter[str]]:
    """Return the number of all comparisons, and of those that failed by the class of their error.

    Args:
        outcomes: The outcomes of contests and of other samples.
    """
    total = 0
    failed: Counter[str] = Counter()
    for outcome in outcomes:
        if isinstance(outcome, Ranked):
            failures = outcome.ranking.failed_comparisons
            total += len(outcome.ranking.comparisons) + len(failures)
            failed.update(type(each.error).__name__ for each in failures)
    return total, failed
