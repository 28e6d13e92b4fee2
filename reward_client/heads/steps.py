"""A head that reads one number for each step of an answer, for process reward models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from reward_client._base.activation import Activation, are_probabilities, sigmoid, softmax
from reward_client._base.choices import check_choice
from reward_client._base.results import StepReward
from reward_client._protocols.pooled_output import Layout, not_a_reward
from reward_client.errors import ActivationError, InputError, ProtocolError, ShapeError
from reward_client.heads.scores import Rows, Scores

Aggregate: TypeAlias = Literal["min", "product", "mean", "last", "logit_sum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepHead:
    """The probability that each step of an answer is good.

    The probability is the softmax over a step's row at ``good_label``, or the sigmoid of the value
    in a row of width 1. The aggregates "min" and "product" are from Lightman et al.
    (arXiv 2305.20050). Published models use all five aggregates, so there is no default.

    Attributes:
        step_token: The token that ends each step: its ID, or a text that is exactly one token.
        good_label: Index of the column that means good; None for rows of width 1.
        aggregate: How the probabilities of the steps are combined into the reward: ``"min"``,
            ``"product"``, ``"mean"``, ``"last"``, or ``"logit_sum"``, the sum of log(p / (1 - p)).
        separator: Text that splits the last assistant turn into steps; the client ends each step
            with the step token. None if samples contain steps or step tokens already.

    Raises:
        InputError: If a parameter is invalid.
    """

    step_token: int | str
    good_label: int | None
    aggregate: Aggregate
    separator: str | None = None

    def __post_init__(self) -> None:
        token: object = self.step_token
        if not (isinstance(token, str) and token) and not (type(token) is int and token >= 0):
            raise InputError("step_token= must be the ID or the text of a token.")
        label: object = self.good_label
        if label is not None and not (type(label) is int and label >= 0):
            raise InputError("good_label= must be the index of a column, or None for width 1.")
        check_choice("aggregate", self.aggregate, get_args(Aggregate))
        if self.separator is not None and not (
            isinstance(self.separator, str) and self.separator  # pyright: ignore[reportUnnecessaryIsInstance]
        ):
            raise InputError("separator= must be a non-empty string, or None.")

    def problem(self, layout: Layout) -> ProtocolError | None:
        """Return the error if this head cannot read outputs of this layout, else None."""
        if layout.kind == "vector":
            return not_a_reward(layout) or ShapeError(
                "Cannot read steps: the server returns one vector for a conversation, and StepHead "
                "needs a row for each step or token. Serve the model with the pooling task "
                "token_classify (`--task reward` up to 0.9)."
            )
        if layout.width == 0:
            return ShapeError(
                f"Cannot read steps: the server does not return one row for each "
                f"{self.step_token!r}. It was started with a different step token (step_tag_id)."
            )
        right = layout.width == 1 if self.good_label is None else 1 < layout.width > self.good_label
        wide = not_a_reward(layout)
        if wide is not None or right:
            return wide
        return ShapeError(
            f"Cannot read steps: rows have {layout.width} values ({layout.kind}), and "
            f"good_label={self.good_label}. Set it to the index of the column that means good, or "
            "to None for rows of one value."
        )

    def describe(self, layout: Layout) -> str:
        """Describe the head for `Provenance`."""
        return f"steps ({self.aggregate}, {layout.width} labels, good {self.good_label})"

    def read(self, rows: Rows, activation: Activation) -> Scores:
        """Compute the probability of each step, and their aggregate.

        Raises:
            ShapeError: If there are no steps, or if the numbers of rows and steps differ.
            ActivationError: If a probability is saturated and its logit is needed.
        """
        if rows.kind == "per token":
            values = [rows.values[position] for position in rows.steps]
        else:
            values = list(rows.values)
        if not values or len(values) != len(rows.steps):
            raise ShapeError(
                f"The server returned {len(values)} rows for {len(rows.steps)} step tokens."
            )
        starts = (0, *(position + 1 for position in rows.steps))
        steps = tuple(
            StepReward(
                value=self._probability(row, activation),
                logits=tuple(row) if activation.name == "none" else None,
                start=start,
                end=position + 1,
            )
            for row, start, position in zip(values, starts, rows.steps, strict=False)
        )
        if self.aggregate == "logit_sum":
            return Scores(math.fsum(self._logit(row, activation) for row in values), steps=steps)
        return Scores(_AGGREGATES[self.aggregate]([step.value for step in steps]), steps=steps)

    def _probability(self, row: Sequence[float], activation: Activation) -> float:
        probabilities = [row[0], 1 - row[0]] if self.good_label is None else row
        squashed = activation.name == ("sigmoid" if self.good_label is None else "softmax")
        if squashed and not are_probabilities(probabilities):
            raise ActivationError(
                f"A step's row is {list(row)[:3]}, but this server returned probabilities before. "
                "Check whether it was restarted with other options."
            )
        if self.good_label is None:
            return row[0] if squashed else sigmoid(row[0])
        if squashed:
            return row[self.good_label]
        return softmax([activation.raw(value) for value in row])[self.good_label]

    def _logit(self, row: Sequence[float], activation: Activation) -> float:
        """Return log(p / (1 - p)), from raw values if possible, since they do not saturate."""
        if self.good_label is None:
            return activation.raw(row[0])
        if activation.name == "softmax":
            return self._logit_of_probabilities(row, self.good_label)
        raw = [activation.raw(value) for value in row]
        good = raw.pop(self.good_label)
        largest = max(raw)
        return good - largest - math.log(math.fsum(math.exp(value - largest) for value in raw))

    def _logit_of_probabilities(self, row: Sequence[float], label: int) -> float:
        good = row[label]
        bad = math.fsum([*row[:label], *row[label + 1 :]])
        if good <= 0 or bad <= 0:
            raise ActivationError(
                f"Cannot compute aggregate='logit_sum': the server's softmax is saturated ({good})."
                " Start the server without an activation, so that it returns raw values."
            )
        return math.log(good) - math.log(bad)


_AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "product": math.prod,
    "mean": lambda values: math.fsum(values) / len(values),
    "last": lambda values: values[-1],
}
