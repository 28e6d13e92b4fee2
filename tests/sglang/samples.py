"""Samples of the tests on SGLang."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..real.conversations import conversations, other_samples, turns
from ..real.servers import MAX_TOKENS

if TYPE_CHECKING:
    from ..real.conversations import Sample

SAMPLE = turns("What is 2+2?", "The answer is 4.")
SAMPLES: list[Sample] = [turns(f"What is {n} + {n}?", f"It is {2 * n}. " * n) for n in range(1, 9)]


def named(samples: list[Sample]) -> dict[str, Sample]:
    return {str(index): sample for index, sample in enumerate(samples)}


def every_kind() -> dict[str, Sample]:
    """One of every kind; the longest input is a token shorter than the context."""
    too_long = [6 + position % 200 for position in range(MAX_TOKENS)]
    return {
        **conversations(MAX_TOKENS),
        **other_samples(MAX_TOKENS - 1),
        "a token too many": too_long,
    }
