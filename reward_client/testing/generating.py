"""Tokens one after another: which one is next, what its number is, and when the last one is there.

What ends a generation, what of it is in the text and what in the lists was seen on real servers
(0.32.0) that served the shipped model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from reward_client.testing.llama import Past

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing.generating_forms import Completion
    from reward_client.testing.judge import Judge
    from reward_client.testing.llama import Array

LogprobsMode = Literal["raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits"]
"""What ``--logprobs-mode`` takes since 0.10.0. 0.8 does as "processed_logprobs" does."""

UNFINISHED = "\ufffd"
"""What is decoded of bytes that are no whole character."""
_GREEDY_BELOW = 1e-5
_COLDEST = 0.01


@dataclass(slots=True)
class Generated:
    """What has been generated.

    Attributes:
        token_ids: All of it: a token that ended the generation is the last one.
        numbers: For each of them, what is reported of every token of the vocabulary.
        text: Without the token, or the stop text and what is behind it, that was the end.
        finish_reason: "stop", "length", or None while it goes on.
        stop_reason: The text or the token of the request that was the end; None for any other.
    """

    token_ids: list[int]
    numbers: list[Array]
    text: str = ""
    finish_reason: Literal["stop", "length"] | None = None
    stop_reason: str | int | None = None


def generate(
    judge: Judge, mode: LogprobsMode, form: Completion, prompt: Sequence[int], most: int
) -> Generated:
    """What comes after a prompt, of `most` tokens at most."""
    random = np.random.default_rng(None if form.seed is None else abs(form.seed))
    end = judge.tokenizer.end_token_id
    stops = set(form.stop_token_ids or ())
    ends = stops if form.ignore_eos else stops | {end}
    made, past = Generated([], []), Past()
    logits = judge.logits(prompt, past)
    while True:
        masked = _masked(logits, form.allowed_token_ids)
        if len(made.token_ids) < form.min_tokens:
            # The end too, where it is ignored: vLLM masks it all the same.
            masked[[*stops, end]] = -np.inf
        if form.temperature is not None and form.temperature < _GREEDY_BELOW:
            processed, token = masked, int(np.argmax(masked))
        else:
            processed = _tempered(masked, form)
            token = int(random.choice(len(logits), p=_softmax(processed)))
        made.token_ids.append(token)
        made.numbers.append(reported(mode, logits, processed))
        _go_on(made, judge, form, ends, most)
        if made.finish_reason is not None:
            return made
        logits = judge.logits([token], past)


def reported(mode: LogprobsMode, logits: Array, processed: Array) -> Array:
    """What is reported of each token."""
    seen = processed if mode.startswith("processed") else logits
    return seen if mode.endswith("logits") else seen - np.logaddexp.reduce(seen)


def _masked(logits: Array, allowed: Sequence[int] | None) -> Array:
    if not allowed:
        return logits.copy()
    masked = np.full_like(logits, -np.inf)
    masked[list(allowed)] = logits[list(allowed)]
    return masked


def _tempered(logits: Array, form: Completion) -> Array:
    """The logits that a token is drawn by: of the likeliest ones that make up `top_p`."""
    temperature = 1.0 if form.temperature is None else max(form.temperature, _COLDEST)
    tempered = logits / np.float32(temperature)
    if form.top_p is None:
        return tempered
    probabilities, order = _softmax(tempered), np.argsort(-tempered)
    likelier = np.cumsum(probabilities[order]) - probabilities[order]
    tempered[order[likelier >= form.top_p]] = -np.inf
    return tempered


def _softmax(logits: Array) -> Array:
    # In double precision, or the sum is too far from one to draw by.
    weights = np.exp(logits.astype(np.float64) - logits.max())
    probabilities: Array = weights / weights.sum()
    return probabilities


def _go_on(made: Generated, judge: Judge, form: Completion, ends: set[int], most: int) -> None:
    """Bring the text up to the last token, and see whether that is the end."""
    token, count = made.token_ids[-1], len(made.token_ids)
    if token in ends:
        made.finish_reason = "stop"
        of_request = form.ignore_eos or token != judge.tokenizer.end_token_id
        made.stop_reason = token if of_request else None
        return
    text = judge.tokenizer.decode(made.token_ids, skip_special_tokens=form.skip_special_tokens)
    # An unfinished character is held back until it is whole.
    new = 0 if text.endswith(UNFINISHED) else len(text) - len(made.text)
    made.text = text if new else made.text
    found = _found(form.stops, made.text, new) if count > form.min_tokens else {}
    if found:
        first = min(found, key=lambda stop: found[stop] + len(stop))
        made.finish_reason, made.stop_reason = "stop", first
        made.text = made.text[: found[first]]
    elif count >= most:
        made.finish_reason = "length"


def _found(stops: Sequence[str], text: str, new: int) -> dict[str, int]:
    """Which stop texts end in the new characters at the end of a text, and where they begin."""
    starts = {stop: text.find(stop, max(0, len(text) - new - len(stop) + 1)) for stop in stops}
    return {stop: start for stop, start in starts.items() if start >= 0 and new}
