"""One number for each step of an answer: process reward models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from reward_client._base.activation import Activation, are_probabilities, sigmoid, softmax
from reward_client._base.results import StepReward
from reward_client._protocols.vllm.pooled_output import Layout, not_a_reward
from reward_client.errors import ActivationError, InputError, ProtocolError, ShapeError
from reward_client.heads.scores import Rows, Scores

Aggregate: TypeAlias = Literal["min", "product", "mean", "last", "logit_sum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepHead:
    """The probability that each step of an answer is good.

    The probability is the softmax over a step's row at ``good_label``, or the sigmoid of the one
    value of a row of width 1 (Lightman et al., arXiv 2305.20050, for the aggregates "min" and
    "product"; the field uses all of them, so that there is no default).

    Attributes:
        step_token: The token that ends each step: its ID, or its text, which must be one token.
        good_label: Which column of a row means good; None for rows of width 1.
        aggregate: How the steps' probabilities become the reward: ``"min"``, ``"product"``,
            ``"mean"``, ``"last"``, or ``"logit_sum"``, the sum of log(p / (1 - p)).
        separator: Splits the last assistant turn into steps, each of which gets its step token;
            None where callers give steps, or texts with step tokens.

    Raises:
        InputError: A value cannot be meant so.
    """

    step_token: int | str
    good_label: int | None
    aggregate: Aggregate
    separator: str | None = None

    def __post_init__(self) -> None:
        token: object = self.step_token
        if not (isinstance(token, str) and token) and not (type(token) is int and token >= 0):
            raise InputError("step_token= must be a token's ID or its text.")
        label: object = self.good_label
        if label is not None and not (type(label) is int and label >= 0):
            raise InputError("good_label= must be the index of a column, or None for width 1.")
        if self.aggregate not in get_args(Aggregate):
            raise InputError(f"aggregate= must be one of {get_args(Aggregate)}.")
        if self.separator is not None and not (
            isinstance(self.separator, str) and self.separator  # pyright: ignore[reportUnnecessaryIsInstance]
        ):
            raise InputError("separator= must be a non-empty text, or None.")

    def problem(self, layout: Layout) -> ProtocolError | None:
        """Why this head cannot read what the server sends, or None if it can."""
        if layout.kind == "vector":
            return not_a_reward(layout) or ShapeError(
                "The server answers with one vector for a conversation, and StepHead needs a row "
                "for each step or token. Serve the model with the pooling task token_classify "
                "(`--task reward` up to 0.9)."
            )
        if layout.width == 0:
            return ShapeError(
                f"The server does not send one row for each {self.step_token!r}: the step token "
                "that it was started with (step_tag_id) is another one."
            )
        right = layout.width == 1 if self.good_label is None else 1 < layout.width > self.good_label
        wide = not_a_reward(layout)
        if wide is not None or right:
            return wide
        return ShapeError(
            f"Rows have {layout.width} values ({layout.kind}), and good_label={self.good_label}. "
            "It is the index of the column that means good, and None for rows of one value."
        )

    def describe(self, layout: Layout) -> str:
        """The head in words, for `Provenance`."""
        return f"steps ({self.aggregate}, {layout.width} labels, good {self.good_label})"

    def read(self, rows: Rows, activation: Activation) -> Scores:
        """The probabilities of the steps, and their aggregate.

        Raises:
            ShapeError: There is no step, or there are not as many rows as steps.
            ActivationError: A probability is saturated where its logit is needed.
        """
        if rows.kind == "per token":
            values = [rows.values[position] for position in rows.steps]
        else:
            values = list(rows.values)
        if not values or len(values) != len(rows.steps):
            raise ShapeError(
                f"The server sent {len(values)} rows for {len(rows.steps)} step tokens."
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
        sent = [row[0], 1 - row[0]] if self.good_label is None else row
        squashed = activation.name == ("sigmoid" if self.good_label is None else "softmax")
        if squashed and not are_probabilities(sent):
            raise ActivationError(
                f"A step's row is {list(row)[:3]}, and this server sent probabilities before."
            )
        if self.good_label is None:
            return row[0] if squashed else sigmoid(row[0])
        if squashed:
            return row[self.good_label]
        return softmax([activation.raw(value) for value in row])[self.good_label]

    def _logit(self, row: Sequence[float], activation: Activation) -> float:
        """log(p / (1 - p)), from raw values where there are any: they do not saturate."""
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
                f"The server's softmax is saturated ({good}): aggregate='logit_sum' needs raw "
                "values. Start the server so that it applies no activation."
            )
        return math.log(good) - math.log(bad)


_AGGREGATES: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "product": math.prod,
    "mean": lambda values: math.fsum(values) / len(values),
    "last": lambda values: values[-1],
}
