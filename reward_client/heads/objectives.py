"""Several numbers for a conversation, each with a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from reward_client._base.activation import Activation
from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._protocols.vllm.pooled_output import Layout, not_a_reward
from reward_client.errors import InputError, ProtocolError, ShapeError
from reward_client.heads.scores import (
    Rows,
    Scores,
    is_finite_number,
    label_names,
    rows_of_steps,
    weighted_sum,
)


@dataclass(frozen=True, slots=True, init=False)
class ObjectiveHead:
    """One number for each objective: a classifier with k labels.

    Attributes:
        names: Names of the labels, in the order of the model's outputs; a number k stands for
            ``label_0`` to ``label_{k-1}``.
        weights: What each objective counts in the scalar reward, their weighted sum; objectives
            that are not named count nothing. Without weights there is no scalar reward.

    Raises:
        InputError: Names are doubled or missing, or a weight is no finite number or has no
            objective.
    """

    names: tuple[str, ...]
    weights: Mapping[str, float] | None = field(hash=False)  # a dict: equal heads hash alike

    def __init__(
        self, names: Sequence[str] | int, weights: Mapping[str, float] | None = None
    ) -> None:
        object.__setattr__(self, "names", _labels(names))
        object.__setattr__(self, "weights", None if weights is None else self._checked(weights))

    def _checked(self, weights: object) -> Mapping[str, float]:
        given = as_mapping(weights)
        if not given:  # no weights at all would make every reward 0
            raise InputError("weights= must be a dict from names of objectives to numbers.")
        for name, weight in given.items():
            if name not in self.names:
                raise InputError(f"There is no objective {name!r}: they are {list(self.names)}.")
            if not is_finite_number(weight):
                raise InputError(f"The weight of {name!r} must be a finite number.")
        return dict(cast("Mapping[str, float]", given))

    def problem(self, layout: Layout) -> ProtocolError | None:
        """Why this head cannot read what the server sends, or None if it can."""
        if layout.kind == "per step":
            return rows_of_steps()
        if layout.width == len(self.names):
            return None
        return not_a_reward(layout) or ShapeError(
            f"The model answers with {layout.width} values ({layout.kind}), and ObjectiveHead "
            f"names {len(self.names)}."
        )

    def describe(self, layout: Layout) -> str:
        """The head in words, for `Provenance`."""
        weighted = "weighted" if self.weights is not None else "no scalar"
        last = ", last token" if layout.kind == "per token" else ""
        return f"{len(self.names)} objectives ({weighted}{last})"

    def read(self, rows: Rows, activation: Activation) -> Scores:
        """The objectives in the last (or only) row, and their weighted sum.

        Raises:
            ActivationError: As `Activation.raw`.
            NonFiniteRewardError: The sum is no finite number.
        """
        objectives = dict(zip(self.names, map(activation.raw, rows.values[-1]), strict=True))
        if self.weights is None:
            return Scores(None, objectives=objectives)
        chosen = (objectives[name] for name in self.weights)
        return Scores(weighted_sum(self.weights.values(), chosen), objectives=objectives)


def _labels(names: object) -> tuple[str, ...]:
    if type(names) is int and names > 0:
        return label_names(names)
    given = as_sequence(names)
    if not given or not all(isinstance(name, str) and name for name in given):
        raise InputError("ObjectiveHead needs the labels' names, or how many there are.")
    if len(set(given)) != len(given):
        raise InputError(f"Names of objectives must differ: {list(given)}.")
    return tuple(cast("Sequence[str]", given))
