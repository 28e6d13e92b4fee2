"""A head that applies a linear layer to hidden states, on the client."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Protocol, Self, TypeAlias, cast

from reward_client._base.activation import Activation
from reward_client._base.json_values import as_sequence
from reward_client._base.numeric import is_finite_number
from reward_client._base.safetensors import read_tensor
from reward_client._protocols.pooled_output import Layout
from reward_client.errors import InputError, ProtocolError, ShapeError
from reward_client.heads.scores import Rows, Scores, label_names, needs_step_head, weighted_sum


class _HasToList(Protocol):
    def tolist(self) -> object: ...


Array: TypeAlias = Sequence[float] | Sequence[Sequence[float]] | _HasToList
"""A vector or matrix of numbers: nested lists, a NumPy array or a torch tensor."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class LinearHead:
    """A linear layer on the last token's hidden state: reward = weight · state + bias.

    The server only returns hidden states, and the client applies the head. Start the server with
    ``vllm serve BACKBONE --runner pooling --convert embed``, which pools the last token of a causal
    model after its final norm. The client requests states without normalization, and refuses
    normalized ones. A single output is the reward; several outputs are the objectives ``label_0``,
    ``label_1``, … without a scalar reward.

    Attributes:
        weight: Matrix of shape (outputs, hidden).
        bias: Vector of shape (outputs,).

    Raises:
        InputError: If the shapes of weight and bias do not fit, or if a number is not finite.
    """

    weight: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def __init__(self, weight: Array, bias: Array | float | None = None) -> None:
        rows = _rows(weight)
        biases = (0.0,) * len(rows) if bias is None else _biases(bias)
        if len(set(map(len, rows))) != 1 or len(biases) != len(rows):
            raise InputError(
                "LinearHead needs a weight of shape (hidden,) or (outputs, hidden), and a bias of "
                f"shape (outputs,), not {len(rows)} rows of {sorted(set(map(len, rows)))} numbers "
                f"and {len(biases)} biases."
            )
        object.__setattr__(self, "weight", rows)
        object.__setattr__(self, "bias", biases)

    @classmethod
    def load(
        cls, path: str | PathLike[str], weight: str = "score.weight", bias: str | None = None
    ) -> Self:
        """Load a head from a safetensors file; only the named tensors are read.

        Args:
            path: The file, such as the checkpoint shard that contains the head.
            weight: Name of the weight tensor.
            bias: Name of the bias tensor, or None for a head without a bias.

        Raises:
            InputError: If the file or a tensor is missing or invalid.
        """
        return cls(read_tensor(path, weight), None if bias is None else read_tensor(path, bias))

    def __repr__(self) -> str:
        """Show shapes instead of thousands of numbers."""
        return f"LinearHead(outputs={len(self.weight)}, hidden={len(self.weight[0])})"

    def problem(self, layout: Layout) -> ProtocolError | None:
        """Return the error if this head cannot read outputs of this layout, else None."""
        hidden = len(self.weight[0])
        if layout.kind == "per step":
            return needs_step_head()
        if layout.width == hidden:
            return None
        return ShapeError(
            f"Cannot apply LinearHead: the server returns rows of width {layout.width} "
            f"({layout.kind}), and the weight is for hidden states of width {hidden}. Serve the "
            "backbone of this head with `vllm serve BACKBONE --runner pooling --convert embed`."
        )

    def describe(self, layout: Layout) -> str:
        """Describe the head for `Provenance`."""
        return f"linear ({layout.width} to {len(self.weight)}, by the client)"

    def read(self, rows: Rows, activation: Activation) -> Scores:
        """Compute the outputs for the last (or only) row, in double precision.

        Raises:
            ActivationError: If a raw value cannot be recovered; see `Activation.raw`.
            NonFiniteRewardError: If an output is not finite.
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
    """Return the rows of a matrix; a vector is one row."""
    items = list(map(_to_list, as_sequence(_to_list(weight)) or ()))
    rows = list(map(as_sequence, items))
    return (_numbers(items),) if None in rows else tuple(map(_numbers, rows))


def _biases(bias: object) -> tuple[float, ...]:
    given = _to_list(bias)
    return _numbers([given] if is_finite_number(given) else as_sequence(given))


def _numbers(given: Sequence[object] | None) -> tuple[float, ...]:
    if not given or not all(map(is_finite_number, given)):
        raise InputError("The weight and bias of LinearHead must be finite numbers.")
    return tuple(map(float, cast("Sequence[float]", given)))


def _to_list(given: object) -> object:
    """Convert an array to lists; return anything else unchanged."""
    to_list = getattr(given, "tolist", None)
    return to_list() if callable(to_list) else given
