"""What a server applied to the values it sent, and how raw values are had back. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from reward_client.errors import ActivationError

__all__ = ["Activation", "ActivationName", "KnownBy", "sigmoid", "softmax"]

ActivationName: TypeAlias = Literal["none", "sigmoid", "softmax"]
KnownBy: TypeAlias = Literal["request", "task", "probe", "reference", "caller"]


@dataclass(frozen=True, slots=True)
class Activation:
    """What a server applies to the values it sends, and how that is known.

    Attributes:
        name: ``"none"``; ``"sigmoid"``, which `raw` inverts; or ``"softmax"`` over the values of a
            row, which only a head that wants probabilities can do with.
        known_by: As in `ServerProfile.activation_known_by`.
    """

    name: ActivationName
    known_by: KnownBy

    def raw(self, value: float) -> float:
        """The raw value behind a value that was sent.

        Raises:
            ActivationError: It is lost: behind a softmax, or a saturated sigmoid.
        """
        if self.name == "none":
            return value
        if self.name == "softmax":
            raise ActivationError(
                "The server applies a softmax, behind which raw values are lost. "
                "Start the server so that it applies no activation."
            )
        if not 0 < value < 1:
            raise ActivationError(
                f"The server's sigmoid is saturated ({value}): the raw reward cannot be recovered. "
                "Start the server so that it applies no activation."
            )
        return math.log(value) - math.log1p(-value)


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), without overflow."""
    return 0.5 * (1 + math.tanh(0.5 * value))


def softmax(values: Sequence[float]) -> list[float]:
    """Exponentials of the values, divided by their sum, without overflow."""
    largest = max(values)
    exponentials = [math.exp(value - largest) for value in values]
    total = math.fsum(exponentials)
    return [exponential / total for exponential in exponentials]
