"""Pooled output as numbers, and its layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from reward_client.errors import NotARewardError, ShapeError

LayoutKind: TypeAlias = Literal["vector", "per token", "per step"]

_MAX_LABELS = 64
"""Wider rows are hidden states: no reward model has as many labels."""

_NOT_A_REWARD = (
    "The server answers with vectors of {width} numbers, which are hidden states and not rewards: "
    "it serves the model for embeddings. Serve it as a reward model (vLLM: `vllm serve MODEL "
    "--runner pooling`, up to 0.9 `--task classify` or `--task reward`). Its config.json must name "
    "a ...ForSequenceClassification or ...RewardModel architecture. Or give the weights of its "
    "head: head=LinearHead(weight, bias)."
)


class PooledOutput(NamedTuple):
    """The numbers that the server sent for one token list.

    Attributes:
        values: All numbers, row by row.
        rows: The number of rows; None for a flat vector, and for base64, which has no shape.
    """

    values: Sequence[float]
    rows: int | None


class MissingLogprobError(ShapeError):
    """A valid response that leaves out the requested logprob."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape of a server's pooled output.

    Attributes:
        kind: The unit of a row: ``"vector"`` for a whole token list, ``"per token"`` or
            ``"per step"``.
        width: The numbers in a row; 0 if the output has not one row for each step token.
    """

    kind: LayoutKind
    width: int

    def fits(self, output: PooledOutput, token_count: int, step_count: int) -> bool:
        """Return True if the output for a token list has this layout."""
        if self.kind == "vector":
            return output.rows is None and len(output.values) == self.width
        rows = token_count if self.kind == "per token" else step_count
        return output.rows in (None, rows) and len(output.values) == rows * self.width

    def rows(self, output: PooledOutput) -> list[Sequence[float]]:
        """Return the rows of an output with this layout."""
        values, width = output.values, self.width
        if len(values) == width:
            return [values]
        return [values[start : start + width] for start in range(0, len(values), width)]

    def misfit(self, output: PooledOutput, token_count: int, step_count: int) -> ShapeError:
        """Return the error for an output that does not have this layout."""
        rows = {"vector": 1, "per token": token_count, "per step": step_count}[self.kind]
        return ShapeError(
            f"{len(output.values)} values in {output.rows or 'no'} rows came for {token_count} "
            f"tokens with {step_count} step tokens. This model needs {rows * self.width} "
            f"({self.kind})."
        )


def not_a_reward(layout: Layout) -> NotARewardError | None:
    """Return the error for rows that are too wide for labels, else None."""
    if layout.width <= _MAX_LABELS:
        return None
    return NotARewardError(_NOT_A_REWARD.format(width=layout.width))


def find_layout(
    outputs: Sequence[PooledOutput], token_counts: Sequence[int], step_counts: Sequence[int]
) -> Layout | None:
    """Return the layout that fits all outputs; None if none does.

    A flat list of numbers is only unambiguous if the token lists differ in length, and their
    lengths are not proportional to their numbers of step tokens.
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
        if all(layout.fits(*item) for item in counts):
            return layout
    # Neither one row nor one for each token: other tokens end the steps of this model.
    return None if any(output.rows is None for output in outputs) else Layout("per step", 0)
