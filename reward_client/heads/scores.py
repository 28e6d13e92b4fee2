"""The input and output of a head, and helpers that several heads share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from operator import mul
from types import MappingProxyType
from typing import NamedTuple

from reward_client._base.results import Reward, StepReward
from reward_client._protocols.pooled_output import LayoutKind
from reward_client.errors import NonFiniteRewardError, ShapeError

STEP_HEAD = "head=StepHead(step_token=…, good_label=…, aggregate=…)"


class Rows(NamedTuple):
    """The pooled output of one list of token IDs.

    Attributes:
        values: The numbers, row by row.
        kind: The unit that each row describes: the whole list, one token, or one step.
        steps: Positions of the step tokens in the list.
    """

    values: Sequence[Sequence[float]]
    kind: LayoutKind
    steps: tuple[int, ...] = ()


class Scores(NamedTuple):
    """The numbers that a head reads from pooled output, named like the fields of `Reward`."""

    value: float | None
    steps: tuple[StepReward, ...] = ()
    objectives: Mapping[str, float] = MappingProxyType({})

    @classmethod
    def of(cls, reward: Reward) -> Scores:
        """The numbers of a reward."""
        return cls(reward.scalar, reward.steps, reward.objectives)


def needs_step_head() -> ShapeError:
    """Return the error for a head that cannot read one row per step."""
    return ShapeError(
        "The server returns one row for each step, and no row for a text without step tokens: "
        f"the model is a process reward model. Pass {STEP_HEAD}."
    )


def label_names(count: int) -> tuple[str, ...]:
    """Return the default names ``label_0``, ``label_1``, … of a head's outputs."""
    return tuple(f"label_{index}" for index in range(count))


def weighted_sum(weights: Iterable[float], values: Iterable[float]) -> float:
    """Return the sum of the products, in double precision.

    Raises:
        NonFiniteRewardError: If the sum is not finite.
    """
    try:
        total = math.fsum(map(mul, weights, values))
    except (OverflowError, ValueError):  # larger than any float, or infinity minus infinity
        total = math.inf
    if not math.isfinite(total):
        raise NonFiniteRewardError(
            "Cannot compute the weighted sum: it is not finite. Use smaller weights."
        )
    return total
