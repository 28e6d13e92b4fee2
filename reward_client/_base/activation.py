"""What a server applied to the values it sent, and how raw values are had back. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from reward_client.errors import ActivationError

ActivationName: TypeAlias = Literal["none", "sigmoid", "softmax"]
KnownBy: TypeAlias = Literal["request", "task", "probe", "reference", "caller"]

# Before 0.10.2, vLLM rounds to the model's own type after a softmax or a normalization: each number
# of a bfloat16 model by a 512th of itself, and so their sum and their length.
ROUNDING = 2.0**-8

_FLOAT32, _FLOAT16, _BFLOAT16 = 24, 11, 8
_SMALLEST_FLOAT16 = 2.0**-24
# As much as bfloat16 and the other samples of a batch move a reward by themselves.
_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Activation:
    """What a server applies to the values it sends, and how that is known.

    Attributes:
        name: ``"none"``; ``"sigmoid"``, which `raw` inverts; or ``"softmax"`` over the values of a
            row, which only a head that wants probabilities can do with.
        known_by: As in `ServerProfile.activation_known_by`.
        bits: Significant bits of the numbers that come. Old versions give probabilities in the
            model's own type, 8 bits for bfloat16 (code of 0.8.5 and 0.10.0, ``pooler.py``).
    """

    name: ActivationName
    known_by: KnownBy
    bits: int = _FLOAT32

    def raw(self, value: float) -> float:
        """The raw value behind a value that was sent.

        Raises:
            ActivationError: It is lost: behind a softmax, or a sigmoid so close to its end that
                the number sent stands for different rewards.
        """
        if self.name == "none":
            return value
        if self.name == "softmax":
            raise ActivationError(
                "The server applies a softmax, behind which raw values are lost. "
                "Start the server so that it applies no activation."
            )
        if not 0 < value < 1 or self._doubt(value) > _TOLERANCE:
            raise ActivationError(
                f"The server's sigmoid is saturated ({value}, of {self.bits} significant bits): "
                "the raw reward cannot be recovered. Start the server so that it applies no "
                "activation."
            )
        return math.log(value) - math.log1p(-value)

    def _doubt(self, value: float) -> float:
        """How far the rounding of a probability may have moved what is recovered from it."""
        step = 2.0 ** (math.frexp(value)[1] - self.bits)
        if self.bits == _FLOAT16:
            step = max(step, _SMALLEST_FLOAT16)
        return step / 2 / (value * (1 - value))


def significant_bits(values: Iterable[float]) -> int:
    """How many bits numbers have that were sent as bfloat16 (8), float16 (11) or float32 (24)."""
    mantissas = [math.frexp(value)[0] for value in values]
    for bits in (_BFLOAT16, _FLOAT16):
        if all((mantissa * 2**bits).is_integer() for mantissa in mantissas):
            return bits
    return _FLOAT32


def are_probabilities(row: Sequence[float]) -> bool:
    """Whether numbers lie in [0, 1] and add up to 1, as far as a server's rounding tells."""
    return all(0 <= value <= 1 for value in row) and abs(math.fsum(row) - 1) < ROUNDING


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), without overflow, and exact to the last digits far below 0."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    exponential = math.exp(value)
    return exponential / (1 + exponential)


def softmax(values: Sequence[float]) -> list[float]:
    """Exponentials of the values, divided by their sum, without overflow."""
    largest = max(values)
    exponentials = [math.exp(value - largest) for value in values]
    total = math.fsum(exponentials)
    return [exponential / total for exponential in exponentials]
