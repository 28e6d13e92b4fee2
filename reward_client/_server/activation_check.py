"""Whether the values that a server sends are raw: a pure decision on what was seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Literal, TypeAlias

from reward_client._base.activation import (
    ROUNDING,
    Activation,
    are_probabilities,
    sigmoid,
    significant_bits,
)
from reward_client._base.options import ServerActivation
from reward_client.errors import ActivationError, NotARewardError

Rows: TypeAlias = Sequence[Sequence[float]]

Reads: TypeAlias = Literal["values", "probabilities", "states"]
"""What the head makes of a row: of raw values, of probabilities (which may come as such), or of a
hidden state."""

# Old versions apply a softmax or normalize in the model's own type (code of 0.8.5 and 0.10.0): in
# bfloat16, each number is rounded by up to a 512th of itself, and so their sum and their length.
_ROUNDING = 2.0**-8
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
    if len(rows[0]) == 1:
        _refuse_constant_ones([row[0] for row in rows], raw_by, flag)
    _refuse_dead_heads(rows)
    within = may_be_squashed(rows)
    if len(rows[0]) > 1 and all(map(are_probabilities, rows)):
        if reads == "probabilities":
            return Activation("softmax", "probe")
        raise ActivationError(
            "The server applies a softmax over the values of a row, behind which the raw ones are "
            f"lost. {_cure(flag)}"
        )
    if len(rows[0]) > 1 and all(abs(math.hypot(*row) - 1) < ROUNDING for row in rows):
        raise _normalized(reads, flag)
    if raw_by is not None:
        return Activation("none", raw_by)
    if not within:
        if declared == "sigmoid":
            raise ActivationError(
                'server_activation="sigmoid" cannot be true: the server sends values outside '
                "[0, 1]."
            )
        return Activation("none", "caller" if declared else "probe")
    if declared is None:
        return None
    return Activation(declared, "caller", significant_bits(chain.from_iterable(rows)))


def unknown_activation(flag: str, *, asked: bool) -> ActivationError:
    """The error where `find_activation` could not tell, and nothing else could.

    Args:
        flag: The server's flag that gives raw values.
        asked: Whether the version has a switch for them, which made no difference.
    """
    why = (
        "Asking for raw values makes no difference on this server (a gateway may drop the key)"
        if asked
        else "This version of vLLM cannot be asked for raw values"
    )
    return ActivationError(
        f"{why}, and all values seen lie in [0, 1]: they may have been through a sigmoid. "
        f"{_cure(flag)[:-1]}, or say what the server does by "
        'server_activation="none" or "sigmoid".'
    )


def may_be_squashed(rows: Rows) -> bool:
    """Whether all values are such as a sigmoid or a softmax gives."""
    return all(0 <= value <= 1 for value in chain.from_iterable(rows))


def reference_decides(sent: float, expected: float, tolerance: float) -> Activation | None:
    """What a server applies, from the value that it sends for a sample whose reward is known.

    Args:
        sent: The value that came.
        expected: The known raw reward.
        tolerance: How far a raw value may be from it.

    Returns:
        None where neither reading agrees, or both do.
    """
    raw = abs(sent - expected) <= tolerance
    squashed = sigmoid(expected - tolerance) <= sent <= sigmoid(expected + tolerance)
    if raw == squashed:
        return None
    return Activation("none" if raw else "sigmoid", "reference", significant_bits([sent]))


def _refuse_constant_ones(
    values: Sequence[float], raw_by: Literal["request", "task"] | None, flag: str
) -> None:
    """Refuses what is left of a single value after a normalization or a softmax."""
    if any(abs(value) != 1 for value in values):
        return
    if raw_by == "task" or -1 in values:
        raise _normalized("values", flag)
    raise ActivationError(
        "The server answers 1.0 for every input: it applies a softmax over one label (vLLM 0.6.6 "
        f"to 0.8.5 does by default), and the reward is lost. {_cure(flag)}"
    )


def _refuse_dead_heads(rows: Rows) -> None:
    nothing = all(abs(value) < _NOTHING for value in chain.from_iterable(rows))
    if nothing or (len(rows[0]) > 1 and all(len(set(row)) == 1 for row in rows)):
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


def _normalized(reads: Reads, flag: str) -> ActivationError | NotARewardError:
    if reads == "states":
        return ActivationError(
            "The server normalizes the hidden states to length 1, behind which their scale is "
            f"lost. {_cure(flag)}"
        )
    return NotARewardError(
        "The server answers vectors of length 1 (of a single value: 1 or -1) for every input: it "
        "normalizes them like embeddings. Serve the checkpoint without a Normalize module."
    )


def _cure(flag: str) -> str:
    if not flag:
        return "No flag of this version helps: serve the model with a newer one."
    return f"Start the server with {flag}."
