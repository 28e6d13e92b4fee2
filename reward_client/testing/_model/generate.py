"""Generation of tokens: sampling, the reported numbers, and the end of a text.

The end of a generation, its text and its lists follow vLLM 0.32.0 with the shipped model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from reward_client.testing._model.llama import KeyValueCache

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing._model.llama import Array
    from reward_client.testing._model.sum_judge import SumJudge

LogprobsMode = Literal["raw_logprobs", "processed_logprobs", "raw_logits", "processed_logits"]
"""The values of ``--logprobs-mode``, since 0.10.0; 0.8 behaves as by "processed_logprobs"."""

REPLACEMENT_CHARACTER = "\ufffd"
"""The decoder's output for bytes that form no whole character."""
# As in vLLM: a lower temperature samples greedily, and the divisor has a lower bound.
_GREEDY_BELOW = 1e-5
_MIN_TEMPERATURE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """The options of a generation, with vLLM's names.

    Attributes:
        stop: The texts that end the generation.
        stop_token_ids: The tokens that end the generation.
        ignore_eos: True if the model's end token does not end the generation.
    """

    max_tokens: int
    min_tokens: int
    temperature: float | None
    top_p: float | None
    seed: int | None
    stop: Sequence[str]
    stop_token_ids: Sequence[int]
    ignore_eos: bool
    skip_special_tokens: bool
    allowed_token_ids: Sequence[int] | None


@dataclass(slots=True)
class Generated:
    """A generation so far.

    Attributes:
        token_ids: All tokens; a token that ended the generation is the last one.
        reported: For each token, the reported number of every token of the vocabulary.
        text: The text without an end token, and without a stop text and what follows it.
        finish_reason: None until the generation ends.
        stop_reason: The request's stop text or stop token that ended the generation; None for any
            other end.
    """

    token_ids: list[int]
    reported: list[Array]
    text: str = ""
    finish_reason: Literal["stop", "length"] | None = None
    stop_reason: str | int | None = None


def generate(
    judge: SumJudge, mode: LogprobsMode, params: SamplingParams, prompt: Sequence[int]
) -> Generated:
    """Generate the tokens after a prompt."""
    random = np.random.default_rng(None if params.seed is None else abs(params.seed))
    end = judge.tokenizer.end_token_id
    stops = set(params.stop_token_ids)
    ends = stops if params.ignore_eos else stops | {end}
    generated, cache = Generated([], []), KeyValueCache()
    logits = judge.logits(prompt, cache)
    while True:
        masked = _masked(logits, params.allowed_token_ids)
        if len(generated.token_ids) < params.min_tokens:
            # vLLM masks the end token here even if the request ignores it.
            masked[[*stops, end]] = -np.inf
        if params.temperature is not None and params.temperature < _GREEDY_BELOW:
            processed, token = masked, int(np.argmax(masked))
        else:
            processed = _tempered(masked, params)
            token = int(random.choice(len(logits), p=_softmax(processed)))
        generated.token_ids.append(token)
        generated.reported.append(reported(mode, logits, processed))
        _update_text(generated, judge, params, ends)
        if generated.finish_reason is not None:
            return generated
        logits = judge.logits([token], cache)


def reported(mode: LogprobsMode, logits: Array, processed: Array) -> Array:
    """Return the number of each token that the server reports in this mode."""
    chosen = processed if mode.startswith("processed") else logits
    return chosen if mode.endswith("logits") else chosen - np.logaddexp.reduce(chosen)


def _masked(logits: Array, allowed: Sequence[int] | None) -> Array:
    if not allowed:
        return logits.copy()
    masked = np.full_like(logits, -np.inf)
    masked[list(allowed)] = logits[list(allowed)]
    return masked


def _tempered(logits: Array, params: SamplingParams) -> Array:
    """Apply the temperature, then mask the tokens outside of the likeliest `top_p`."""
    temperature = 1.0 if params.temperature is None else max(params.temperature, _MIN_TEMPERATURE)
    tempered = logits / np.float32(temperature)
    if params.top_p is None:
        return tempered
    probabilities, order = _softmax(tempered), np.argsort(-tempered)
    likelier = np.cumsum(probabilities[order]) - probabilities[order]
    tempered[order[likelier >= params.top_p]] = -np.inf
    return tempered


def _softmax(logits: Array) -> Array:
    # In single precision the sum would be too far from 1 for numpy's sampling.
    weights = np.exp(logits.astype(np.float64) - logits.max())
    probabilities: Array = weights / weights.sum()
    return probabilities


def _update_text(
    generated: Generated, judge: SumJudge, params: SamplingParams, ends: set[int]
) -> None:
    """Extend the text to the last token, and end the generation if it is complete."""
    token, count = generated.token_ids[-1], len(generated.token_ids)
    if token in ends:
        generated.finish_reason = "stop"
        of_request = params.ignore_eos or token != judge.tokenizer.end_token_id
        generated.stop_reason = token if of_request else None
        return
    text = judge.tokenizer.decode(
        generated.token_ids, skip_special_tokens=params.skip_special_tokens
    )
    # An incomplete character waits for the token that completes it.
    new = 0 if text.endswith(REPLACEMENT_CHARACTER) else len(text) - len(generated.text)
    generated.text = text if new else generated.text
    found = _found(params.stop, generated.text, new) if count > params.min_tokens else {}
    if found:
        first = min(found, key=lambda stop: found[stop] + len(stop))
        generated.finish_reason, generated.stop_reason = "stop", first
        generated.text = generated.text[: found[first]]
    elif count >= params.max_tokens:
        generated.finish_reason = "length"


def _found(stops: Sequence[str], text: str, new: int) -> dict[str, int]:
    """Map each stop text that ends within the last `new` characters to its start."""
    starts = {stop: text.find(stop, max(0, len(text) - new - len(stop) + 1)) for stop in stops}
    return {stop: start for stop, start in starts.items() if start >= 0 and new}
