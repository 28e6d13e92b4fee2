"""Generated text, with the log-probabilities of its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Position(NamedTuple):
    """A generated token, and the likeliest ones in its place.

    Attributes:
        token: The ID of the token.
        logprobs: The log-probabilities of this token and of the likeliest ones, by their IDs.
    """

    token: int
    logprobs: Mapping[int, float]


class Sampling(NamedTuple):
    """How a text is generated.

    Attributes:
        max_tokens: The largest number of tokens to generate.
        temperature: The sampling temperature; 0 for the most likely text.
        seed: The sampling seed.
        top_p: The share of the likeliest tokens; None for all.
        top_k: The number of the likeliest tokens; None for all.
        logprobs: True to request the log-probabilities of the likeliest tokens.
    """

    max_tokens: int
    temperature: float
    seed: int
    top_p: float | None = None
    top_k: int | None = None
    logprobs: bool = False


class Written(NamedTuple):
    """A generated text.

    Attributes:
        text: The text, without the special token that ends it.
        prompt_tokens: The number of tokens read.
        generated_tokens: The number of tokens generated, the last special token included.
        positions: The log-probabilities at each generated token, if they were requested.
    """

    text: str
    prompt_tokens: int
    generated_tokens: int
    positions: tuple[Position, ...] = ()


class Generated(NamedTuple):
    """A generated text as a response tells of it, not checked yet.

    Attributes:
        texts: All texts of the response.
        prompt_tokens: The count of tokens read.
        generated_tokens: The count of tokens generated.
        finish_reason: Why the text ends.
        positions: The log-probabilities; None if they are not those of each token.
    """

    texts: Sequence[object]
    prompt_tokens: object
    generated_tokens: object
    finish_reason: object
    positions: tuple[Position, ...] | None
