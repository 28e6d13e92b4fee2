"""Pooled output as numbers, and the shapes it comes in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from reward_client.errors import NotARewardError, ShapeError

LayoutKind: TypeAlias = Literal["vector", "per token", "per step"]

_MAX_LABELS = 64
"""Wider vectors are hidden states: no reward model has as many labels."""

_NOT_A_REWARD = (
    "The server answers with vectors of {width} numbers: hidden states of a model served for "
    "embeddings, not rewards. Serve the reward model as one: `vllm serve MODEL --runner pooling` "
    "(`--task classify` or `--task reward` up to 0.9), for a model whose config.json names a "
    "...ForSequenceClassification or ...RewardModel architecture. Or give the weights of its head: "
    "head=LinearHead(weight, bias)."
)


class PooledOutput(NamedTuple):
    """What the server sent for one token list.

    Attributes:
        values: All numbers, row by row.
        rows: How many rows they came in; None for a flat vector, and for an encoding that does not
            tell (base64).
    """

    values: Sequence[float]
    rows: int | None


class MissingLogprobError(ShapeError):
    """A reply that is right, and leaves out the number that was asked for."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape that a server was found to answer in.

    Attributes:
        kind: What a row of numbers belongs to: a whole token list (``"vector"``), each of its
            tokens, or each of its step tokens.
        width: Numbers in a row; 0 where there was not one row for each step token.
    """

    kind: LayoutKind
    width: int

    def row_count(self, token_count: int, step_count: int) -> int:
        """How many rows belong to a token list."""
        if self.kind == "vector":
            return 1
        return token_count if self.kind == "per token" else step_count

    def problem(self, output: PooledOutput, token_count: int, step_count: int) -> str | None:
        """What is wrong with an output, or None if it has this shape."""
        rows = self.row_count(token_count, step_count)
        nested = None if self.kind == "vector" else rows
        unlike = output.rows is not None and output.rows != nested
        if len(output.values) == rows * self.width and not unlike:
            return None
        return (
            f"{len(output.values)} values came in {output.rows or 'no'} rows for {token_count} "
            f"tokens with {step_count} step tokens, and {rows * self.width} ({self.kind}) are "
            "right for this model."
        )

    def rows(self, output: PooledOutput) -> list[Sequence[float]]:
        """The numbers of an output of this shape, row by row."""
        values, width = output.values, self.width
        if len(values) == width:
            return [values]
        return [values[start : start + width] for start in range(0, len(values), width)]


def not_a_reward(layout: Layout) -> NotARewardError | None:
    """The error for rows too wide to be labels, None for others."""
    if layout.width <= _MAX_LABELS:
        return None
    return NotARewardError(_NOT_A_REWARD.format(width=layout.width))


def find_layout(
    outputs: Sequence[PooledOutput], token_counts: Sequence[int], step_counts: Sequence[int]
) -> Layout | None:
    """The one shape that fits all outputs, None if none does.

    The token lists must differ in length, and not in step with their numbers of step tokens, so
    that a flat list of numbers can be told apart.
    """
    size = len(outputs[0].values)
    candidates = [Layout("vector", size) if size else Layout("per step", 0)]
    by_count: Mapping[LayoutKind, int] = {"per token": token_counts[0], "per step": step_counts[0]}
    candidates += [
        Layout(kind, size // count)
        for kind, count in by_count.items()
        if size and count and size % count == 0
    ]
    for layout in candidates:
        counts = zip(outputs, token_counts, step_counts, strict=True)
        if all(layout.problem(*each) is None for each in counts):
            return layout
    # Rows that are neither one nor as many as tokens: for steps that others than these tokens end.
    return None if any(output.rows is None for output in outputs) else Layout("per step", 0)
