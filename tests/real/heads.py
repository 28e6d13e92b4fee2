"""Heads, the kinds of models they are for, and what their rewards have to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reward_client import LinearHead, ObjectiveHead, ScalarHead, StepHead

from .bench import scalar_samples
from .checkpoints import BIAS, LAYER

if TYPE_CHECKING:
    from reward_client import Reward

    from .conversations import Sample
    from .ledger import Numbers
    from .torch_process import Reference

Head = ScalarHead | ObjectiveHead | StepHead | LinearHead

LABELS = ("helpful", "correct", "coherent", "complex", "verbose")
WEIGHTS = {"helpful": 0.5, "correct": 1.0, "verbose": -0.25}


def value(reward: Reward) -> float:
    return reward.value


def objectives(reward: Reward) -> list[float]:
    return list(reward.objectives.values())


def last(reference: Reference) -> list[float]:
    return reference.last


def weighted(reference: Reference) -> float:
    labels = dict(zip(LABELS, reference.last, strict=True))
    return sum(labels[name] * weight for name, weight in WEIGHTS.items())


def yes_minus_no(reference: Reference) -> float:
    no, yes = reference.last
    return yes - no


def linear(reference: Reference) -> list[float]:
    return [float(number) for number in LAYER.astype(float) @ reference.last + BIAS]


@dataclass(frozen=True)
class Setup:
    """A head and the kind of model that it is for.

    Attributes:
        routes: Those by which a server of that kind gives its numbers.
        numbers: Read out of a reward.
        expected: The same, out of a reference.
        cell: What it is in the table of versions.
    """

    model: str
    head: Head
    routes: tuple[str, ...]
    numbers: Callable[[Reward], Numbers]
    expected: Callable[[Reference], Numbers]
    samples: Callable[[], Mapping[str, Sample]] = scalar_samples
    cell: str = "one label"

    def taken(self, route: str) -> str:
        """The route that is taken where this one is asked for: "auto" takes the next in line."""
        return self.routes[1] if route == "auto" else route
