"""What goes into a head, and what comes out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from operator import mul
from types import MappingProxyType
from typing import NamedTuple, TypeGuard

from reward_client._base.results import StepReward
from reward_client._protocols.vllm.pooled_output import LayoutKind
from reward_client.errors import NonFiniteRewardError, ShapeError

STEP_HEAD = "head=StepHead(step_token=…, good_label=…, aggregate=…)"


class Rows(NamedTuple):
    """The pooled output of one token list.

    Attributes:
        values: The numbers, row by row.
        kind: What a row belongs to: the whole list, a token, or a step.
        steps: Positions of the step tokens in the token list.
    """

    values: Sequence[Sequence[float]]
    kind: LayoutKind
    steps: tuple[int, ...] = ()


class Scores(NamedTuple):
    """What a head reads out of pooled output; the fields are those of `Reward`."""

    value: float | None
    steps: tuple[StepReward, ...] = ()
    objectives: Mapping[str, float] = MappingProxyType({})


def rows_of_steps() -> ShapeError:
    """The error for a row for each step, where a head reads other rows."""
    return ShapeError(
        "The server answers with one row for each step, and none where the text has no step token: "
        f"a process reward model. Give {STEP_HEAD}."
    )


def label_names(count: int) -> tuple[str, ...]:
    """Names for outputs that have none."""
    return tuple(f"label_{index}" for index in range(count))


def is_finite_number(value: object) -> TypeGuard[float]:
    """Whether it can be computed with; NumPy's float64 is a float, and a bool no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond all floats
        return False


def weighted_sum(weights: Iterable[float], values: Iterable[float]) -> float:
    """The sum of the products, in double precision.

    Raises:
        NonFiniteRewardError: It is no finite number.
    """
    try:
        total = math.fsum(map(mul, weights, values))
    except (OverflowError, ValueError):  # beyond all floats, or infinity minus infinity
        total = math.inf
    if not math.isfinite(total):
        raise NonFiniteRewardError("The weighted sum is no finite number: weights are too large.")
    return total
