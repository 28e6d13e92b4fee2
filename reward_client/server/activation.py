"""Whether the values that a server sends are raw: a pure decision on what was seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from reward_client.errors import ActivationError, NotARewardError
from reward_client.options import ServerActivation

__all__ = ["Activation", "find_activation"]


@dataclass(frozen=True, slots=True)
class Activation:
    """What a server applies to the values it sends, and how that is known.

    Attributes:
        name: ``"none"``, or ``"sigmoid"``: then `raw` inverts it.
        known_by: As in `ServerProfile.activation_known_by`.
    """

    name: ServerActivation
    known_by: Literal["request", "task", "probe", "caller"]

    def raw(self, value: float) -> float:
        """The raw value behind a value that was sent.

        Raises:
            ActivationError: The sigmoid is saturated, so that the raw value is lost.
        """
        if self.name == "none":
            return value
        if not 0 < value < 1:
            raise ActivationError(
                f"The server's sigmoid is saturated ({value}): the raw reward cannot be recovered. "
                "Start the server so that it applies no activation."
            )
        return math.log(value) - math.log1p(-value)


def find_activation(
    values: Sequence[float],
    raw_by: Literal["request", "task"] | None,
    declared: ServerActivation | None,
    raw_flag: str,
) -> Activation:
    """What a server applies, from the values that eight different inputs gave.

    Args:
        values: What came back.
        raw_by: Why the way of asking gives raw values, if it does.
        declared: The caller's word.
        raw_flag: The server's flag that gives raw values, for the message.

    Raises:
        ActivationError: Values are constant, may be squashed, or contradict the caller.
        NotARewardError: They are normalized embeddings of width one.
    """
    cure = f"Start the server with {raw_flag}"
    if all(abs(value) == 1 for value in values) and (raw_by == "task" or -1 in values):
        raise NotARewardError(
            "The server answers 1 or -1 for every input: it normalizes the value like an "
            "embedding. Serve the checkpoint without a Normalize module."
        )
    if all(value == 1 for value in values):
        raise ActivationError(
            "The server answers 1.0 for every input: it applies a softmax over one label (vLLM "
            f"0.6.6 to 0.8.5 does by default), and the reward is lost. {cure}."
        )
    if raw_by is not None:
        return Activation("none", raw_by)
    outside = any(not 0 <= value <= 1 for value in values)
    if declared == "sigmoid" and outside:
        raise ActivationError(
            'server_activation="sigmoid" cannot be true: the server sends values outside [0, 1].'
        )
    if declared is not None:
        return Activation(declared, "caller")
    if outside:
        return Activation("none", "probe")
    raise ActivationError(
        "This version of vLLM cannot be asked for raw values, and all values seen lie in [0, 1]: "
        f"they may have been through a sigmoid. {cure}, or say what the server does by "
        'server_activation="none" or "sigmoid".'
    )
