"""A linear layer that the client applies to hidden states."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import mul
from os import PathLike
from typing import Protocol, Self, TypeAlias, cast

from reward_client.activation import Activation
from reward_client.errors import InputError, ProtocolError, ShapeError
from reward_client.heads.safetensors import read_tensor
from reward_client.heads.scores import Rows, Scores
from reward_client.narrowing import as_sequence
from reward_client.routes.pooled import Layout

__all__ = ["Array", "LinearHead"]


class _HasToList(Protocol):
    def tolist(self) -> object: ...


Array: TypeAlias = Sequence[float] | Sequence[Sequence[float]] | _HasToList
"""Numbers, nested like a matrix or not: lists, or a NumPy array or torch tensor of them."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class LinearHead:
    """A linear layer on the last token's hidden state: reward = weight · state + bias.

    The server only embeds (``vllm serve BACKBONE --runner pooling --convert embed``, which pools
    the last token of a causal model, after its final norm); the head stays with the caller. The
    client asks for states that are not normalized, and refuses those that are.

    Attributes:
        weight: One row of as many numbers as the hidden state has, for each output.
        bias: One number for each output.

    Raises:
        InputError: Weight and bias have other shapes, or hold what is no finite number.
    """

    weight: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def __init__(self, weight: Array, bias: Array | float | None = None) -> None:
        rows = _matrix(weight)
        biases = (0.0,) * len(rows) if bias is None else _vector(bias)
        if len({len(row) for row in rows}) != 1 or len(biases) != len(rows):
            raise InputError(
                "LinearHead needs a weight of shape (hidden,) or (outputs, hidden), and a bias of "
                f"shape (outputs,); these have {len(rows)} rows and {len(biases)} biases."
            )
        object.__setattr__(self, "weight", rows)
        object.__setattr__(self, "bias", biases)

    @classmethod
    def load(
        cls, path: str | PathLike[str], weight: str = "score.weight", bias: str | None = None
    ) -> Self:
        """A head from a safetensors file; only the two tensors are read.

        Args:
            path: The file, such as the shard of a checkpoint that holds the head.
            weight: Name of the weight.
            bias: Name of the bias, if there is one.

        Raises:
            InputError: The file or a tensor is missing, or is not what it should be.
        """
        return cls(read_tensor(path, weight), None if bias is None else read_tensor(path, bias))

    def __repr__(self) -> str:
        """Shapes instead of thousands of numbers."""
        return f"LinearHead(outputs={len(self.weight)}, hidden={len(self.weight[0])})"

    def problem(self, layout: Layout) -> ProtocolError | None:
        """Why this head cannot read what the server sends, or None if it can."""
        hidden = len(self.weight[0])
        if layout.kind != "per step" and layout.width == hidden:
            return None
        return ShapeError(
            f"The server answers with {layout.width} values ({layout.kind}), and LinearHead has "
            f"weights for hidden states of {hidden}. Serve its backbone with "
            "`vllm serve BACKBONE --runner pooling --convert embed`."
        )

    def describe(self, layout: Layout) -> str:
        """The head in words, for `Provenance`."""
        return f"linear ({layout.width} to {len(self.weight)}, by the client)"

    def read(self, rows: Rows, activation: Activation) -> Scores:
        """The outputs for the last (or only) row, summed in double precision."""
        state = [activation.raw(value) for value in rows.values[-1]]
        outputs = [
            math.fsum(map(mul, row, state)) + bias
            for row, bias in zip(self.weight, self.bias, strict=True)
        ]
        if len(outputs) == 1:
            return Scores(outputs[0])
        names = (f"label_{index}" for index in range(len(outputs)))
        return Scores(None, objectives=dict(zip(names, outputs, strict=True)))


def _matrix(given: object) -> tuple[tuple[float, ...], ...]:
    rows = _listed(given)
    if not rows:
        raise InputError("LinearHead needs a weight: an array or nested lists of numbers.")
    if as_sequence(rows[0]) is None:
        return (_vector(rows),)
    return tuple(map(_vector, rows))


def _vector(given: object) -> tuple[float, ...]:
    numbers = [given] if isinstance(given, int | float) else _listed(given)
    if not numbers or any(
        type(number) not in (int, float) or not math.isfinite(cast("float", number))
        for number in numbers
    ):
        raise InputError("The weight and bias of LinearHead must be finite numbers.")
    return tuple(map(float, cast("Iterable[float]", numbers)))


def _listed(given: object) -> Sequence[object] | None:
    to_list = getattr(given, "tolist", None)
    return as_sequence(to_list() if callable(to_list) else given)
