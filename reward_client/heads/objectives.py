"""A head that reads several named numbers for a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from reward_client._base.activation import Activation
from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.numeric import is_finite_number
from reward_client._protocols.pooled_output import Layout, not_a_reward
from reward_client.errors import InputError, ProtocolError, ShapeError
from reward_client.heads.scores import (
    Rows,
    Scores,
    label_names,
    needs_step_head,
    weighted_sum,
)


@dataclass(frozen=True, slots=True, init=False)
class ObjectiveHead:
    """One number for each objective, from a classifier with k labels.

    Attributes:
        names: Names of the labels, in the order of the model's outputs. An integer k stands for
            ``label_0`` to ``label_{k-1}``.
        weights: Weight of each objective in the scalar reward, which is the weighted sum.
            Objectives without a weight do not count. Without weights, there is no scalar reward.

    Raises:
        InputError: If a name is missing or repeated, or if a weight is not finite or belongs to no
            objective.
    """

    names: tuple[str, ...]
    weights: Mapping[str, float] | None = field(hash=False)  # a dict: equal heads hash alike

    def __init__(
        self, names: Sequence[str] | int, weights: Mapping[str, float] | None = None
    ) -> None:
        object.__setattr__(self, "names", _checked_names(names))
        object.__setattr__(
            self, "weights", None if weights is None else self._checked_weights(weights)
        )

    def _checked_weights(self, weights: object) -> Mapping[str, float]:
        given = as_mapping(weights)
        if not given:  # no weights at all would make every reward 0
            raise InputError("weights= must be a dict that maps names of objectives to numbers.")
        for name, weight in given.items():
            if name not in self.names:
                raise InputError(
                    f"weights= has an unknown objective {name!r}. Use names of {list(self.names)}."
                )
            if not is_finite_number(weight):
                raise InputError(f"The weight of {name!r} must be a finite number.")
        return dict(cast("Mapping[str, float]", given))

    def problem(self, layout: Layout) -> ProtocolError | None:
        """Return the error if this head cannot read outputs of this layout, else None."""
        if layout.kind == "per step":
            return needs_step_head()
        if layout.width == len(self.names):
            return None
        return not_a_reward(layout) or ShapeError(
            f"Cannot read the objectives: the model returns {layout.width} values "
            f"({layout.kind}), and ObjectiveHead has {len(self.names)} names. Name every value."
        )

    def describe(self, layout: Layout) -> str:
        """Describe the head for `Provenance`."""
        weighted = "weighted" if self.weights is not None else "no scalar"
        last = ", last token" if layout.kind == "per token" else ""
        return f"{len(self.names)} objectives ({weighted}{last})"

    def read(self, rows: Rows, activation: Activation) -> Scores:
        """Read the objectives from the last (or only) row, and compute their weighted sum.

        Raises:
            ActivationError: If a raw value cannot be recovered; see `Activation.raw`.
            NonFiniteRewardError: If the sum is not finite.
        """
        objectives = dict(zip(self.names, map(activation.raw, rows.values[-1]), strict=True))
        if self.weights is None:
            return Scores(None, objectives=objectives)
        chosen = (objectives[name] for name in self.weights)
        return Scores(weighted_sum(self.weights.values(), chosen), objectives=objectives)


def _checked_names(names: object) -> tuple[str, ...]:
    if type(names) is int and names > 0:
        return label_names(names)
    given = as_sequence(names)
    if not given or not all(isinstance(name, str) and name for name in given):
        raise InputError("ObjectiveHead needs the names of the labels, or their number.")
    if len(set(given)) != len(given):
        raise InputError(f"Names of objectives must be unique, not {list(given)}.")
    return tuple(cast("Sequence[str]", given))
