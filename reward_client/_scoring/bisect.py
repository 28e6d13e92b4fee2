"""Which samples of a request a server refuses: it does not say, so the request is taken apart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

from reward_client.errors import (
    BadRequestError,
    ResponseMismatchError,
    RewardClientError,
    ShapeError,
)

SampleT = TypeVar("SampleT")
OutcomeT = TypeVar("OutcomeT")

Send: TypeAlias = Callable[[Sequence[SampleT]], Awaitable[list[OutcomeT | RewardClientError]]]
"""Sends several samples in one request."""

ONE_MAY_CAUSE = (BadRequestError, ResponseMismatchError, ShapeError)
"""What a server does to a whole request for the sake of one sample in it."""


async def each_outcome(
    ask: Send[SampleT, OutcomeT],
    samples: Sequence[SampleT],
    is_anything_refused: Callable[[], Awaitable[bool]],
) -> list[OutcomeT | RewardClientError]:
    """The outcome of each sample, those that are refused with their refusal.

    Args:
        ask: Sends some of them.
        samples: At least one.
        is_anything_refused: Whether even samples without fault are refused.

    Raises:
        RewardClientError: All are refused, and none of them causes it.
    """
    asked = await _asked(ask, samples)
    if not isinstance(asked, RewardClientError):
        return asked
    if len(samples) == 1 or await is_anything_refused():
        raise asked
    return await _taken_apart(ask, samples)


async def _taken_apart(
    ask: Send[SampleT, OutcomeT], samples: Sequence[SampleT]
) -> list[OutcomeT | RewardClientError]:
    """The outcomes of samples that were refused together.

    Of two halves, the second holds a culprit if the first does not, and need not be asked for as a
    whole: at most two requests for each culprit and halving.
    """
    if len(samples) == 1:
        return await _alone(ask, samples)
    middle = (len(samples) + 1) // 2
    halves = samples[:middle], samples[middle:]
    first = await _asked(ask, halves[0])
    if not isinstance(first, RewardClientError):
        return [*first, *await _taken_apart(ask, halves[1])]
    outcomes = [first] if middle == 1 else await _taken_apart(ask, halves[0])
    second = await _asked(ask, halves[1])
    if not isinstance(second, RewardClientError):
        return [*outcomes, *second]
    return [*outcomes, *([second] if len(halves[1]) == 1 else await _taken_apart(ask, halves[1]))]


async def _alone(
    ask: Send[SampleT, OutcomeT], samples: Sequence[SampleT]
) -> list[OutcomeT | RewardClientError]:
    asked = await _asked(ask, samples)
    return [asked] if isinstance(asked, RewardClientError) else asked


async def _asked(
    ask: Send[SampleT, OutcomeT], samples: Sequence[SampleT]
) -> list[OutcomeT | RewardClientError] | RewardClientError:
    """What comes for samples; the refusal, where one of several may have caused it."""
    try:
        return await ask(samples)
    except ONE_MAY_CAUSE as refusal:
        return refusal
