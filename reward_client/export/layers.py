"""The layers of a head. Each layer becomes a Dense module."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from reward_client.errors import ExportError
from reward_client.export.checkpoint import Tensor

LayerActivation: TypeAlias = Literal["identity", "relu", "tanh"]

_MAX_FLOAT32 = (2 - 2**-23) * 2.0**127
"""Servers compute heads in float32."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer with an activation: y = activation(weight · x + bias).

    Attributes:
        weight: Matrix of shape (out_features, in_features), stored or computed.
        bias: Vector of shape (out_features,); None for a layer without a bias.
        activation: Function that is applied to each output.
        weight_from: Names of the tensors that the weight was read from.
        bias_from: Name of the tensor that the bias was read from.
    """

    weight: Tensor | Sequence[Sequence[float]]
    bias: Tensor | Sequence[float] | None
    activation: LayerActivation
    weight_from: str
    bias_from: str | None

    @property
    def out_features(self) -> int:
        """Number of outputs."""
        return self._shape[0]

    @property
    def in_features(self) -> int:
        """Number of inputs."""
        return self._shape[1]

    @property
    def _shape(self) -> tuple[int, int]:
        if isinstance(self.weight, Tensor):
            rows, columns = self.weight.shape
            return rows, columns
        return len(self.weight), len(self.weight[0])


def scaled(layers: Sequence[Layer], scale: float, shift: float) -> tuple[Layer, ...]:
    """Return layers with the outputs of ``layers`` times ``scale`` plus ``shift``."""
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
    """Check that the layers fit the hidden state and each other, and contain finite numbers.

    Raises:
        ExportError: If a layer does not fit, is not finite, or contains only zeros.
    """
    width = hidden_size
    for layer in layers:
        if layer.in_features != width:
            raise ExportError(
                f"Cannot chain the layers of the head: {layer.weight_from} needs "
                f"{layer.in_features} inputs, but gets {width} (hidden size: {hidden_size})."
            )
        width = layer.out_features
        bias = layer.bias.shape if isinstance(layer.bias, Tensor) else None
        if bias is not None and bias != (width,):
            raise ExportError(
                f"Cannot use {layer.bias_from}: its shape must be [{width}], not {list(bias)}."
            )
        _check_layer(layer)


def _check_layer(layer: Layer) -> None:
    weight, bias = layer.weight, layer.bias
    rows = weight.chunks() if isinstance(weight, Tensor) else weight
    if not _check_numbers(rows, layer.weight_from):
        raise ExportError(
            f"Cannot use {layer.weight_from}: it contains only zeros, so every reward would be the "
            "same."
        )
    if bias is not None:
        parts = bias.chunks() if isinstance(bias, Tensor) else [bias]
        _check_numbers(parts, layer.bias_from or layer.weight_from)


def _check_numbers(parts: Iterable[Sequence[float]], name: str) -> bool:
    """Return True if a number is not zero, after a check that all numbers are finite."""
    has_nonzero = False
    for part in parts:
        # The sum is finite only if each number is.
        if not (
            math.isfinite(sum(part)) and -_MAX_FLOAT32 <= min(part) <= max(part) <= _MAX_FLOAT32
        ):
            raise ExportError(
                f"Cannot use {name}: it contains weights that are NaN, infinite or outside float32."
                " Download the checkpoint again."
            )
        has_nonzero = has_nonzero or any(part)
    return has_nonzero
