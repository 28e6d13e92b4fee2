"""The heads of the shipped model.

Training gave one head: a row of weights that maps a hidden state to the reward. The other heads
derive from that row. The row of each further label is the same row, rolled by some positions, so
that labels differ as the labels of a trained head would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reward_client.testing._model.llama import Array

Head = Literal["sequence", "token", "labels", "steps", "embed", "export", "export-steps"]
HEADS: tuple[Head, ...] = get_args(Head)
T = TypeVar("T")

_LABELS = 5
_ROLLED_BY = 11
# The labels of each head's output. A step has bad and good, in this order; good is the reward.
_COLUMNS: Mapping[Head, tuple[int, ...]] = {
    "sequence": (0,),
    "token": (0,),
    "labels": tuple(range(_LABELS)),
    "steps": (1, 0),
    "export": (0,),
    "export-steps": (1, 0),
}


def label_weights(score_weight: Array) -> Array:
    """Return one row of weights for each label; the first row gives the reward."""
    return np.stack([np.roll(score_weight, _ROLLED_BY * label) for label in range(_LABELS)])


def outputs(head: Head, hidden: Array, labels: Array) -> Array:
    """Return the raw output of a head, of shape (positions, values)."""
    return labels[:, list(_COLUMNS[head])] if head in _COLUMNS else hidden


def by_model_kind(*, sequences: T, tokens: T, embeddings: T) -> dict[Head, T]:
    """Map each head to the value for its kind of model: vLLM serves heads of a kind alike.

    Args:
        sequences: For `*ForSequenceClassification`, with one label or more.
        tokens: For `*ForRewardModel` and `*ForProcessRewardModel`.
        embeddings: For a backbone, with or without Dense modules of sentence-transformers.
    """
    return {
        "sequence": sequences,
        "labels": sequences,
        "token": tokens,
        "steps": tokens,
        "embed": embeddings,
        "export": embeddings,
        "export-steps": embeddings,
    }
