"""Decide from the values of a server if they are raw. Pure."""

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
"""The kind of row that the head reads: raw values, probabilities (which may come as such), or a
hidden state."""

# Weights that were not loaded give such numbers: denormal floats (seen on vLLM 0.12.0).
_NEAR_ZERO = 1e-30


def find_activation(
    rows: Rows,
    reads: Reads,
    raw_by: Literal["request", "task"] | None,
    declared: ServerActivation | None,
    cure: str,
) -> Activation | None:
    """Find the activation of a server from the rows for different inputs.

    Args:
        rows: The rows, of equal widths.
        reads: The kind of row that the head reads.
        raw_by: The reason why the request gives raw values, if it does.
        declared: The activation that the caller declared.
        cure: The cure for values that are not raw, as a sentence.

    Returns:
        The activation; None if the values may be raw or squashed.

    Raises:
        ActivationError: If raw values are lost, or contradict the caller.
        NotARewardError: If the values are not the output of a reward head.
    """
    if len(rows[0]) == 1:
        _refuse_constant_ones([row[0] for row in rows], raw_by, cure)
    _refuse_dead_heads(rows)
    within = may_be_squashed(rows)
    if len(rows[0]) > 1 and all(map(are_probabilities, rows)):
        if reads == "probabilities":
            return Activation("softmax", "probe")
        raise ActivationError(
            "The server applies a softmax over the values of a row, and the raw values are lost. "
            f"{cure}"
        )
    if len(rows[0]) > 1 and all(abs(math.hypot(*row) - 1) < ROUNDING for row in rows):
        raise _normalized(reads, cure)
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


def unknown_activation(cure: str, *, asked: bool) -> ActivationError:
    """Return the error for an activation that nothing determines.

    Args:
        cure: The cure, as a sentence.
        asked: True if the version has a switch for raw values, which made no difference.
    """
    why = (
        "Asking for raw values makes no difference on this server (a gateway may drop the key)"
        if asked
        else "This version cannot be asked for raw values"
    )
    return ActivationError(
        f"{why}, and all values seen lie in [0, 1]: they may have been through a sigmoid. "
        f"{cure[:-1]}, or say what the server does by "
        'server_activation="none" or "sigmoid".'
    )


def may_be_squashed(rows: Rows) -> bool:
    """Return True if a sigmoid or a softmax may have given all values."""
    return all(0 <= value <= 1 for value in chain.from_iterable(rows))


def reference_decides(sent: float, expected: float, tolerance: float) -> Activation | None:
    """Find the activation from the value of a sample whose raw reward is known.

    Args:
        sent: The value from the server.
        expected: The known raw reward.
        tolerance: The tolerance of the known reward.

    Returns:
        The activation; None if both or neither of raw and sigmoid explain the value.
    """
    raw = abs(sent - expected) <= tolerance
    squashed = sigmoid(expected - tolerance) <= sent <= sigmoid(expected + tolerance)
    if raw == squashed:
        return None
    return Activation("none" if raw else "sigmoid", "reference", significant_bits([sent]))


def _refuse_constant_ones(
    values: Sequence[float], raw_by: Literal["request", "task"] | None, cure: str
) -> None:
    """Refuse single values that a normalization or a softmax turned into 1 or -1."""
    if any(abs(value) != 1 for value in values):
        return
    if raw_by == "task" or -1 in values:
        raise _normalized("values", cure)
    raise ActivationError(
        "The server answers 1.0 for every input: it applies a softmax over one label (vLLM 0.6.6 "
        f"to 0.8.5 does by default), and the reward is lost. {cure}"
    )


def _refuse_dead_heads(rows: Rows) -> None:
    nothing = all(abs(value) < _NEAR_ZERO for value in chain.from_iterable(rows))
    if nothing or (len(rows[0]) > 1 and all(len(set(row)) == 1 for row in rows)):
        raise NotARewardError(
            "The server answers almost 0, or the same for all labels, for every input: the head's "
            "weights were not loaded. Two causes are known: a quantized checkpoint whose "
            "quantization covers the head (serve it unquantized, or leave the head out of the "
            "quantization), and classifier_from_token on vLLM 0.11.1 to 0.14.1 (serve it with "
            "another version)."
        )
    if len(rows) > 1 and all(tuple(row) == tuple(rows[0]) for row in rows):
        raise NotARewardError(
            f"The server answers the same, {list(rows[0])[:3]}, for every input: no reward head "
            "does. Check that its weights are loaded, and that no quantization covers them."
        )


def _normalized(reads: Reads, cure: str) -> ActivationError | NotARewardError:
    if reads == "states":
        return ActivationError(
            f"The server normalizes the hidden states to length 1, and their scale is lost. {cure}"
        )
    return NotARewardError(
        "The server answers vectors of length 1 (of a single value: 1 or -1) for every input: it "
        "normalizes them like embeddings. Serve the checkpoint without a Normalize module."
    )
