"""The layers of a head: each becomes one Dense module."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from reward_client.errors import ExportError
from reward_client.export.checkpoint import Tensor

Activation: TypeAlias = Literal["identity", "relu", "tanh"]

_LARGEST = (2 - 2**-23) * 2.0**127
"""The largest float32, in which servers compute a head."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer and what follows it: y = activation(weight · x + bias).

    Attributes:
        weight: Of shape (out_features, in_features): as it is stored, or computed numbers.
        bias: Of shape (out_features,); None where the model has none.
        activation: What is applied to each output.
        weight_from: Which tensors the weight was read from.
        bias_from: Which tensor the bias was read from.
    """

    weight: Tensor | Sequence[Sequence[float]]
    bias: Tensor | Sequence[float] | None
    activation: Activation
    weight_from: str
    bias_from: str | None

    @property
    def out_features(self) -> int:
        """How many numbers come out."""
        return self._shape[0]

    @property
    def in_features(self) -> int:
        """How many numbers go in."""
        return self._shape[1]

    @property
    def _shape(self) -> tuple[int, int]:
        if isinstance(self.weight, Tensor):
            rows, columns = self.weight.shape
            return rows, columns
        return len(self.weight), len(self.weight[0])


def scaled(layers: Sequence[Layer], scale: float, shift: float) -> tuple[Layer, ...]:
    """The head whose outputs are ``scale`` times those of `layers`, plus ``shift``."""
    if scale == 1 and shift == 0:
        return tuple(layers)
    *before, last = layers
    rows = last.weight.rows() if isinstance(last.weight, Tensor) else last.weight
    if isinstance(last.bias, Tensor):
        (bias,) = last.bias.rows()
    else:
        bias = list(last.bias or [0.0] * len(rows))
    has_bias = last.bias is not None or shift != 0
    last = replace(
        last,
        weight=[[scale * number for number in row] for row in rows],
        bias=[scale * number + shift for number in bias] if has_bias else None,
    )
    _check_layer(last)
    return (*before, last)


def check_chain(layers: Sequence[Layer], hidden_size: int) -> None:
    """Whether the layers fit the hidden state and each other, and are numbers.

    Raises:
        ExportError: They do not.
    """
    width = hidden_size
    for layer in layers:
        if layer.in_features != width:
            raise ExportError(
                f"{layer.weight_from} takes {layer.in_features} numbers, and gets {width} (the "
                f"hidden state has {hidden_size})."
            )
        width = layer.out_features
        bias = layer.bias.shape if isinstance(layer.bias, Tensor) else None
        if bias is not None and bias != (width,):
            raise ExportError(f"{layer.bias_from} has shape {list(bias)}, and {width} are needed.")
        _check_layer(layer)


def _check_layer(layer: Layer) -> None:
    weight, bias = layer.weight, layer.bias
    rows = weight.chunks() if isinstance(weight, Tensor) else weight
    if not _check_numbers(rows, layer.weight_from):
        raise ExportError(
            f"{layer.weight_from} holds nothing but zeros: every reward would be the same."
        )
    if bias is not None:
        parts = bias.chunks() if isinstance(bias, Tensor) else [bias]
        _check_numbers(parts, layer.bias_from or layer.weight_from)


def _check_numbers(parts: Iterable[Sequence[float]], name: str) -> bool:
    """Whether there is another number than zero, after all are found to be such."""
    some = False
    for part in parts:
        # The sum is finite only if each number is.
        if not (math.isfinite(sum(part)) and min(part) >= -_LARGEST and max(part) <= _LARGEST):
            raise ExportError(
                f"{name} holds NaN or infinite weights, or some beyond float32: the checkpoint is "
                "broken."
            )
        some = some or any(part)
    return some
