"""What goes into a head, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reward_client.rewards import StepReward
from reward_client.routes.pooled import LayoutKind

__all__ = ["Rows", "Scores"]


@dataclass(frozen=True, slots=True)
class Rows:
    """The pooled output of one token list.

    Attributes:
        values: The numbers, row by row.
        kind: What a row belongs to: the whole list, a token, or a step.
        steps: Positions of the step tokens in the token list.
    """

    values: Sequence[Sequence[float]]
    kind: LayoutKind
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """What a head reads out of pooled output; the fields are those of `Reward`."""

    value: float | None
    steps: tuple[StepReward, ...] = ()
    objectives: Mapping[str, float] = field(default_factory=dict[str, float])
