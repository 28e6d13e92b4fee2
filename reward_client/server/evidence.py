"""Whether the values that a server sends are raw: a pure decision on what was seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

from reward_client.activation import Activation, ActivationName
from reward_client.errors import ActivationError, NotARewardError
from reward_client.options import ServerActivation

__all__ = ["Reads", "find_activation", "reference_decides"]

Rows: TypeAlias = Sequence[Sequence[float]]

Reads: TypeAlias = Literal["values", "probabilities", "states"]
"""What the head makes of a row: of raw values, of probabilities (which may come as such), or of a
hidden state."""

# float32 rounds a probability by 6e-8 at most; the sum of up to 64 of them by less than this.
_SUM_TOLERANCE = 1e-4
# Weights that were not loaded give such numbers: denormal floats (seen on vLLM 0.12.0).
_NOTHING = 1e-30


def find_activation(
    rows: Rows,
    reads: Reads,
    raw_by: Literal["request", "task"] | None,
    declared: ServerActivation | None,
    flag: str,
) -> Activation | None:
    """What a server applies, from the rows that different inputs gave.

    Args:
        rows: What came back, of equal widths.
        reads: What the head makes of a row.
        raw_by: Why the way of asking gives raw values, if it does.
        declared: The caller's word.
        flag: The server's flag that gives raw values, for the message.

    Returns:
        None where the values may be squashed or raw, and nobody knows.

    Raises:
        ActivationError: Values are lost, or contradict the caller.
        NotARewardError: They are not the output of a reward head.
    """
    if reads == "states":
        return _of_states(rows, raw_by, flag)
    _refuse_dead_heads(rows, raw_by, flag)
    probabilities = all(0 <= value <= 1 for row in rows for value in row)
    if probabilities and len(rows[0]) > 1 and all(map(_adds_up_to_one, rows)):
        if reads == "probabilities":
            return Activation("softmax", "probe")
        raise ActivationError(
            "The server applies a softmax over the labels, behind which their raw values are lost. "
            f"{_cure(flag)}"
        )
    if raw_by is not None:
        return Activation("none", raw_by)
    if not probabilities:
        if declared == "sigmoid":
            raise ActivationError(
                'server_activation="sigmoid" cannot be true: the server sends values outside '
                "[0, 1]."
            )
        return Activation("none", "caller" if declared else "probe")
    return Activation(declared, "caller") if declared else None


def unknown_activation(flag: str) -> ActivationError:
    """The error where `find_activation` could not tell, and nothing else could."""
    return ActivationError(
        "This version of vLLM cannot be asked for raw values, and all values seen lie in [0, 1]: "
        f"they may have been through a sigmoid. {_cure(flag)[:-1]}, or say what the server does by "
        'server_activation="none" or "sigmoid".'
    )


def reference_decides(sent: float, expected: float, tolerance: float) -> Activation | None:
    """What a server applies, from the value that it sends for a sample whose reward is known.

    Args:
        sent: The value that came.
        expected: The known raw reward.
        tolerance: How far a raw value may be from it.

    Returns:
        None where neither reading agrees, or both do.
    """
    readings: tuple[ActivationName, ...] = ("none", "sigmoid")
    fitting: list[Activation] = []
    for name in readings:
        reading = Activation(name, "reference")
        readable = name == "none" or 0 < sent < 1
        if readable and abs(reading.raw(sent) - expected) <= tolerance:
            fitting.append(reading)
    return fitting[0] if len(fitting) == 1 else None


def _of_states(rows: Rows, raw_by: Literal["request", "task"] | None, flag: str) -> Activation:
    norms = [math.sqrt(math.fsum(value * value for value in row)) for row in rows]
    if all(abs(norm - 1) < _SUM_TOLERANCE for norm in norms):
        raise ActivationError(
            "The server normalizes the hidden states to length 1, behind which their scale is "
            f"lost. {_cure(flag)}"
        )
    return Activation("none", raw_by or "probe")


def _refuse_dead_heads(rows: Rows, raw_by: Literal["request", "task"] | None, flag: str) -> None:
    values = [value for row in rows for value in row]
    if all(abs(value) == 1 for value in values) and (raw_by == "task" or -1 in values):
        raise NotARewardError(
            "The server answers 1 or -1 for every input: it normalizes the value like an "
            "embedding. Serve the checkpoint without a Normalize module."
        )
    if all(value == 1 for value in values):
        raise ActivationError(
            "The server answers 1.0 for every input: it applies a softmax over one label (vLLM "
            f"0.6.6 to 0.8.5 does by default), and the reward is lost. {_cure(flag)}"
        )
    even = all(len(set(row)) == 1 for row in rows) if len(rows[0]) > 1 else False
    if all(abs(value) < _NOTHING for value in values) or even:
        raise NotARewardError(
            "The server answers next to nothing, or the same for all labels, for every input: the "
            "head's weights were not loaded (classifier_from_token does that on vLLM 0.11.1 to "
            "0.14.1). Serve the model with another version."
        )
    if len(rows) > 1 and all(tuple(row) == tuple(rows[0]) for row in rows):
        raise NotARewardError(
            f"The server answers the same, {list(rows[0])[:3]}, for every input: that is no output "
            "of a reward head. Are its weights loaded?"
        )


def _adds_up_to_one(row: Sequence[float]) -> bool:
    return math.isclose(math.fsum(row), 1, abs_tol=_SUM_TOLERANCE)


def _cure(flag: str) -> str:
    return f"Start the server with {flag}." if flag else "Start the server without it."
