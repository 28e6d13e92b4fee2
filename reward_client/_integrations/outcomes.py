"""Outcomes of a batch as numbers for training: what is left out, and what stops the run.

A fault of a sample leaves the sample out. A fault of the server, after all patience, and another
model behind the URL raise an error: no number that trains stands for them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from reward_client._base.results import Reward
from reward_client._base.values import values
from reward_client._base.wording import describe_type
from reward_client.errors import InputError, RewardClientError

Transform = Callable[[Reward], float]
"""Makes a number of a reward, such as ``lambda reward: reward.objectives["helpful"]``."""

_logger = logging.getLogger("reward_client")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRewards:
    """The rewards of a batch.

    Attributes:
        values: A number for each sample, in their order; for a failed one None, or the number
            that the caller chose.
        errors: The error of each sample; None for those with a reward.
        stripped: The characters of reasoning that were left out of each sample.
        seconds: The seconds that the batch took, waiting included.
    """

    values: list[float | None]
    errors: list[RewardClientError | None]
    stripped: list[int]
    seconds: float

    @property
    def rewards(self) -> list[float]:
        """The numbers of the samples with a reward."""
        pairs = zip(self.values, self.errors, strict=True)
        return [value for value, error in pairs if error is None and value is not None]

    def metrics(self) -> dict[str, float]:
        """Return the batch in numbers: mean, share of failures, seconds, share of reasoning."""
        total = len(self.values)
        rewards = self.rewards
        measured = {"failed": (total - len(rewards)) / total if total else 0.0}
        measured["seconds"] = self.seconds
        if rewards:
            measured["mean"] = math.fsum(rewards) / len(rewards)
        if any(self.stripped):
            measured["reasoning_stripped"] = sum(map(bool, self.stripped)) / total
        return measured


def batch_rewards(
    outcomes: Sequence[Reward | RewardClientError],
    *,
    failed: float | None,
    transform: Transform | None = None,
    stripped: Sequence[int] = (),
    seconds: float = 0.0,
) -> BatchRewards:
    """Return the numbers of a batch.

    Args:
        outcomes: The reward or the error of each sample.
        failed: The number for a sample that failed by its own fault; None leaves it out.
        transform: Makes a number of a reward; None takes its value.
        stripped: The characters of reasoning that were left out of each sample.
        seconds: The seconds that the batch took.

    Raises:
        RewardClientError: The first error that is no fault of a sample.
        InputError: If a reward has several objectives and ``transform`` is None, or if
            ``transform`` returns no finite number.
    """
    errors = [each if isinstance(each, RewardClientError) else None for each in outcomes]
    raise_faults_of_the_server(errors)
    _warn_if_all_failed(errors)
    numbers: list[float | None]
    if transform is None:
        numbers = [*values(outcomes, failed=failed)]
    else:
        numbers = [
            _transformed(outcome, transform) if isinstance(outcome, Reward) else failed
            for outcome in outcomes
        ]
    return BatchRewards(
        values=numbers,
        errors=errors,
        stripped=[*stripped] or [0] * len(errors),
        seconds=seconds,
    )


def raise_faults_of_the_server(errors: Sequence[RewardClientError | None]) -> None:
    """Raise the first error that is no fault of a sample, if there is one.

    Raises:
        RewardClientError: The error.
    """
    faults = [error for error in errors if error is not None and error.fault == "server"]
    if not faults:
        return
    first = faults[0]
    first.add_note(
        f"{len(faults)} of {len(errors)} samples have no reward by a fault of the server. No "
        "number stands for them: the step has to stop here."
    )
    raise first


def _warn_if_all_failed(errors: Sequence[RewardClientError | None]) -> None:
    failures = [error for error in errors if error is not None]
    if failures and len(failures) == len(errors):
        _logger.warning(
            "No sample of this batch of %d has a reward. The first error: %s",
            len(errors),
            failures[0],
        )


def _transformed(reward: Reward, transform: Transform) -> float:
    number = cast("object", transform(reward))
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise InputError(f"transform= must return a number, not {describe_type(number)}.")
    if not math.isfinite(number):
        raise InputError(f"transform= must return a finite number, not {number}.")
    return float(number)


def refuse_failures(batch: BatchRewards) -> list[float]:
    """Return the numbers of a batch, for frameworks that can leave out no sample.

    Raises:
        RewardClientError: The first error of a sample for which no number is chosen.
    """
    for value, error in zip(batch.values, batch.errors, strict=True):
        if value is None and error is not None:
            error.add_note(
                "The trainer cannot leave out a sample. Give failed= or REWARD_CLIENT_FAILED, the "
                "number for samples that fail by their own fault, or avoid such samples."
            )
            raise error
    return [value for value in batch.values if value is not None]
