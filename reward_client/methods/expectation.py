"""The expectation of a verdict over the probabilities of its labels. Pure.

G-Eval (arXiv 2303.16634, section 2) weights each score by the probability of its token. Here the
probabilities come from one text, at the place of its verdict, and are divided by their sum.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence

from reward_client._protocols.written import Position
from reward_client.errors import ActivationError, GenerationError

LEAST_MASS = 0.5
"""The least probability of all labels together."""
MAX_LABELS = 20
"""As many tokens as a server reports for one place."""

_ROUNDING = 1e-3


def candidates(positions: Sequence[Position], label: Collection[int]) -> Iterator[int]:
    """Yield the indices of the generated tokens that may be the label, from the last one.

    Args:
        positions: The generated tokens.
        label: The tokens whose text is the label.
    """
    return (n for n in reversed(range(len(positions))) if positions[n].token in label)


def is_rest(text: str, end: int, after: str, last: str) -> bool:
    """Return True if some tokens make up the text after its label.

    Blanks do not count: a tokenizer may take them off the start of a text.

    Args:
        text: The generated text.
        end: The index in the text at which the label ends.
        after: The text of the tokens. A special token that ended the text may be among them.
        last: The text of the last one.
    """
    whole, rest = _without_blanks(text), _without_blanks(text[end:])
    after, last = _without_blanks(after), _without_blanks(last)
    return after == rest or (after == rest + last and not whole.endswith(last))


def expectation(
    values: Mapping[str, float],
    labels: Mapping[str, Collection[int]],
    position: Position,
    text: str,
) -> float:
    """Return the mean of the labels' values, weighted by their probabilities.

    Args:
        values: The value of each label.
        labels: The tokens of each label.
        position: The token of the label in the text.
        text: The generated text, for the error.

    Raises:
        GenerationError: If the probabilities of the labels are too small.
        ActivationError: If the numbers are no log-probabilities.
    """
    numbers = position.logprobs
    if (
        max(numbers.values()) > _ROUNDING
        or math.fsum(map(math.exp, numbers.values())) > 1 + _ROUNDING
    ):
        raise ActivationError(
            "Cannot weight the verdict: the server reports logits in the place of "
            "log-probabilities. Start it without --logprobs-mode."
        )
    masses = {
        label: math.fsum(math.exp(numbers[token]) for token in tokens if token in numbers)
        for label, tokens in labels.items()
    }
    mass = math.fsum(masses.values())
    if mass < LEAST_MASS:
        raise GenerationError(
            f"Cannot weight the verdict: all labels together have a probability of {mass:.3f} at "
            f"its place, and need {LEAST_MASS}. Ask for one of the labels in the prompt. The text "
            "is in error.text.",
            text=text,
        )
    return math.fsum(values[label] * share for label, share in masses.items()) / mass


def not_a_token(label: str, text: str) -> GenerationError:
    """Build the error for a label that no token of the text is."""
    return GenerationError(
        f"Cannot weight the verdict: {label!r} is not one token of the text as it was generated. "
        "The text is in error.text.",
        text=text,
    )


def _without_blanks(text: str) -> str:
    return "".join(text.split())
