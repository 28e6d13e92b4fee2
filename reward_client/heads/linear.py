"""A linear layer that the client applies to hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Protocol, Self, TypeAlias, cast

from reward_client._base.activation import Activation
from reward_client._base.json_values import as_sequence
from reward_client._base.safetensors import read_tensor
from reward_client._protocols.vllm.pooled_output import Layout
from reward_client.errors import InputError, ProtocolError, ShapeError
from reward_client.heads.scores import (
    Rows,
    Scores,
    is_finite_number,
    label_names,
    rows_of_steps,
    weighted_sum,
)


class _HasToList(Protocol):
    def tolist(self) -> object: ...


Array: TypeAlias = Sequence[float] | Sequence[Sequence[float]] | _HasToList
"""Numbers, nested like a matrix or not: lists, or a NumPy array or torch tensor of them."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class LinearHead:
    """A linear layer on the last token's hidden state: reward = weight · state + bias.

    The server only embeds (``vllm serve BACKBONE --runner pooling --convert embed``, which pools
    the last token of a causal model, after its final norm); the head stays with the caller. The
    client asks for states that are not normalized, and refuses those that are. One output is the
    reward; several are objectives ``label_0``, ``label_1``, … without a scalar.

    Attributes:
        weight: One row of as many numbers as the hidden state has, for each output.
        bias: One number for each output.

    Raises:
        InputError: Weight and bias have other shapes, or hold what is no finite number.
    """

    weight: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def __init__(self, weight: Array, bias: Array | float | None = None) -> None:
        rows = _rows(weight)
        biases = (0.0,) * len(rows) if bias is None else _biases(bias)
        if len(set(map(len, rows))) != 1 or len(biases) != len(rows):
            raise InputError(
                "LinearHead needs a weight of shape (hidden,) or (outputs, hidden), and a bias of "
                f"shape (outputs,); here are {len(rows)} rows of {sorted(set(map(len, rows)))} "
                f"numbers, and {len(biases)} biases."
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
        if layout.kind == "per step":
            return rows_of_steps()
        if layout.width == hidden:
            return None
        return ShapeError(
            f"The server answers with rows of width {layout.width} ({layout.kind}), and LinearHead "
            f"has weights for hidden states of {hidden}. Serve the model that they belong to with "
            "`vllm serve BACKBONE --runner pooling --convert embed`."
        )

    def describe(self, layout: Layout) -> str:
        """The head in words, for `Provenance`."""
        return f"linear ({layout.width} to {len(self.weight)}, by the client)"

    def read(self, rows: Rows, activation: Activation) -> Scores:
        """The outputs for the last (or only) row, summed in double precision.

        Raises:
            ActivationError: As `Activation.raw`.
            NonFiniteRewardError: An output is no finite number.
        """
        state = [*map(activation.raw, rows.values[-1]), 1.0]
        outputs = [
            weighted_sum([*row, bias], state)
            for row, bias in zip(self.weight, self.bias, strict=True)
        ]
        if len(outputs) == 1:
            return Scores(outputs[0])
        names = label_names(len(outputs))
        return Scores(None, objectives=dict(zip(names, outputs, strict=True)))


def _rows(weight: object) -> tuple[tuple[float, ...], ...]:
    """The rows of a matrix; a vector is one row."""
    items = list(map(_listed, as_sequence(_listed(weight)) or ()))
    rows = list(map(as_sequence, items))
    return (_numbers(items),) if None in rows else tuple(map(_numbers, rows))


def _biases(bias: object) -> tuple[float, ...]:
    given = _listed(bias)
    return _numbers([given] if is_finite_number(given) else as_sequence(given))


def _numbers(given: Sequence[object] | None) -> tuple[float, ...]:
    if not given or not all(map(is_finite_number, given)):
        raise InputError("The weight and bias of LinearHead must be finite numbers.")
    return tuple(map(float, cast("Sequence[float]", given)))


def _listed(given: object) -> object:
    """Lists instead of an array."""
    to_list = getattr(given, "tolist", None)
    return to_list() if callable(to_list) else given
