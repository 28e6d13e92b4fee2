"""Pooled output as numbers, and the shapes it comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reward_client.errors import NotARewardError, ProtocolError, ShapeError

__all__ = ["Layout", "PooledOutput", "find_layout"]

_MAX_LABELS = 64
"""Wider vectors are hidden states: no reward model has as many labels."""

_NOT_A_REWARD = (
    "The server answers with vectors of {width} numbers: hidden states of a model served for "
    "embeddings, not rewards. Serve the reward model as one: `vllm serve MODEL --runner pooling` "
    "(`--task classify` or `--task reward` up to 0.9), for a model whose config.json names a "
    "...ForSequenceClassification or ...RewardModel architecture."
)
_SEVERAL_LABELS = (
    "The model answers with {width} values {what}, and a scalar reward is one: a classifier with "
    "several labels, or a process reward model. Which of them is the reward cannot be guessed."
)
_NO_ROWS = (
    "The server answers with no value at all for text without step tokens: a process reward model. "
    "A scalar reward needs a model with one."
)


@dataclass(frozen=True, slots=True)
class PooledOutput:
    """What the server sent for one token list.

    Attributes:
        values: All numbers, row by row.
        rows: How many rows they came in; None for a flat vector, and for an encoding that does not
            tell (base64).
    """

    values: Sequence[float]
    rows: int | None


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape that a server was found to answer in.

    Attributes:
        kind: ``"vector"``: one for a token list; ``"per token"``: one row for each token.
        width: Numbers in the vector, or in a row.
    """

    kind: Literal["vector", "per token"]
    width: int

    def problem(self, output: PooledOutput, token_count: int) -> str | None:
        """What is wrong with an output, or None if it has this shape."""
        rows = token_count if self.kind == "per token" else 1
        size = len(output.values)
        unlike = output.rows is not None and (output.rows, self.kind) != (token_count, "per token")
        if size == rows * self.width and not unlike:
            return None
        return (
            f"{size} values came in {output.rows or 'no'} rows for {token_count} tokens, "
            f"and {rows * self.width} ({self.kind}) are right for this model."
        )

    def scalar_problem(self) -> ProtocolError | None:
        """Why no scalar reward can be read from this shape, or None if one can."""
        if self.width == 1:
            return None
        if self.width == 0:
            return ShapeError(_NO_ROWS)
        if self.width > _MAX_LABELS:
            return NotARewardError(_NOT_A_REWARD.format(width=self.width))
        what = "for each token" if self.kind == "per token" else "for a conversation"
        return ShapeError(_SEVERAL_LABELS.format(width=self.width, what=what))


def find_layout(outputs: Sequence[PooledOutput], token_counts: Sequence[int]) -> Layout | None:
    """The one shape that fits all outputs, None if none does.

    The token lists must differ in length, so that a flat list of numbers can be told apart.
    """
    size = len(outputs[0].values)
    candidates = [Layout("vector", size)]
    if size % token_counts[0] == 0:
        candidates.append(Layout("per token", size // token_counts[0]))
    for layout in candidates:
        pairs = zip(outputs, token_counts, strict=True)
        if all(layout.problem(output, count) is None for output, count in pairs):
            return layout
    # Rows that are neither one nor as many as tokens: one for each step, none without a step.
    return None if any(output.rows is None for output in outputs) else Layout("vector", 0)
