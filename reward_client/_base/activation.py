"""The activation that a server applied to its values, and its inverse. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from reward_client.errors import ActivationError

ActivationName: TypeAlias = Literal["none", "sigmoid", "softmax"]
KnownBy: TypeAlias = Literal["request", "task", "probe", "reference", "caller"]

# Before 0.10.2, vLLM rounds to the model's type after a softmax or a normalization. For bfloat16
# each number, their sum and their length have a relative error of up to 2^-9.
ROUNDING = 2.0**-8

_FLOAT32, _FLOAT16, _BFLOAT16 = 24, 11, 8
_SMALLEST_FLOAT16 = 2.0**-24
# bfloat16 and the other samples of a batch shift a reward as much.
_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Activation:
    """The activation that a server applies to its values, and the evidence for it.

    Attributes:
        name: ``"none"``; ``"sigmoid"``, which `raw` inverts; or ``"softmax"`` over the values of a
            row, which only heads that read probabilities accept.
        known_by: As in `ServerProfile.activation_known_by`.
        bits: The significant bits of the values. Old versions send probabilities in the model's
            type, with 8 bits for bfloat16 (code of 0.8.5 and 0.10.0, ``pooler.py``).
    """

    name: ActivationName
    known_by: KnownBy
    bits: int = _FLOAT32

    def raw(self, value: float) -> float:
        """Return the raw value behind a value of the server.

        Raises:
            ActivationError: If a softmax lost the raw value, or a saturated sigmoid did: then the
                rounded value stands for different rewards.
        """
        if self.name == "none":
            return value
        if self.name == "softmax":
            raise ActivationError(
                "Cannot recover raw values: the server applies a softmax. Start the server so that "
                "it applies no activation."
            )
        if not 0 < value < 1 or self._doubt(value) > _TOLERANCE:
            raise ActivationError(
                f"Cannot recover the raw reward: the server's sigmoid is saturated ({value}, of "
                f"{self.bits} significant bits). Start the server so that it applies no activation."
            )
        return math.log(value) - math.log1p(-value)

    def _doubt(self, value: float) -> float:
        """Return the largest error of the recovered value that rounding can cause."""
        step = 2.0 ** (math.frexp(value)[1] - self.bits)
        if self.bits == _FLOAT16:
            step = max(step, _SMALLEST_FLOAT16)
        return step / 2 / (value * (1 - value))


def significant_bits(values: Iterable[float]) -> int:
    """Return the significant bits of numbers: 8 for bfloat16, 11 for float16, 24 for float32."""
    mantissas = [math.frexp(value)[0] for value in values]
    for bits in (_BFLOAT16, _FLOAT16):
        if all((mantissa * 2**bits).is_integer() for mantissa in mantissas):
            return bits
    return _FLOAT32


def are_probabilities(row: Sequence[float]) -> bool:
    """Return whether numbers lie in [0, 1] and add up to 1, up to a server's rounding."""
    return all(0 <= value <= 1 for value in row) and abs(math.fsum(row) - 1) < ROUNDING


def sigmoid(value: float) -> float:
    """Return 1 / (1 + exp(-value)) without overflow, and exact to the last digits far below 0."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    exponential = math.exp(value)
    return exponential / (1 + exponential)


def softmax(values: Sequence[float]) -> list[float]:
    """Return the exponentials of the values divided by their sum, without overflow."""
    largest = max(values)
    exponentials = [math.exp(value - largest) for value in values]
    total = math.fsum(exponentials)
    return [exponential / total for exponential in exponentials]
