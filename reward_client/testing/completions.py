"""`/v1/completions`: what is refused, and what is told of the tokens that were generated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reward_client.testing.generating import UNFINISHED, LogprobsMode, generate
from reward_client.testing.refusals import Refusal, refused_parameter, refused_value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing.generating import Generated
    from reward_client.testing.generating_forms import Completion
    from reward_client.testing.llama import Array
    from reward_client.testing.serving import Serving

_MOST_LOGPROBS = 20
_MOST_LOGPROB_TOKEN_IDS = 128
_FLOOR = -9999.0
# In bytes, and so in tokens.
_LONGEST_CHARACTER = 4
# What vLLM does and this server does not, with the values that ask for nothing.
_UNDONE: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "stream": (False,),
    "top_k": (0, -1),
    "min_p": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "bad_words": ([],),
    "prompt_logprobs": (),
    "suffix": (),
    "truncate_prompt_tokens": (),
    "response_format": ({"type": "text"},),
    "structured_outputs": (),
    "include_stop_str_in_output": (False,),
}


def check(serving: Serving, form: Completion) -> None:
    """Refuses what is refused whatever the prompts are.

    Raises:
        Refusal: The request asks for what vLLM refuses, or for what this server does not do.
    """
    for key, value in (form.model_extra or {}).items():
        if key in _UNDONE and value not in (None, *_UNDONE[key]):
            raise Refusal(
                f"vLLM does what `{key}` asks for, and the test server does not.",
                status=501,
                kind="NotImplementedError",
            )
    _check_sampling(serving, form)
    check_logprobs(serving, form.logprobs)
    if form.logprob_token_ids and serving.dialect.generation.reads_logprob_token_ids:
        _check_logprob_token_ids(serving, form.logprob_token_ids, form.logprobs)
    if form.allowed_token_ids is not None:
        _check_allowed(serving, form.allowed_token_ids)


def check_logprobs(serving: Serving, logprobs: int | None) -> None:
    """Refuses more log-probabilities of a token than a server gives.

    Raises:
        Refusal: There are more.
    """
    # 0.32 takes -1 for the whole vocabulary; the others refuse it in other words.
    asked = serving.judge.vocabulary_size if logprobs == -1 else logprobs or 0
    if asked > _MOST_LOGPROBS:
        message = serving.dialect.generation.too_many_logprobs
        raise refused_value(
            message.format(asked=asked, most=_MOST_LOGPROBS), "logprobs", asked, serving.dialect
        )


def choice(
    serving: Serving, mode: LogprobsMode, form: Completion, index: int, prompt: Sequence[int]
) -> tuple[dict[str, Any], int]:
    """What comes after a prompt, and how many tokens that is."""
    most = min(form.max_tokens, serving.max_model_len - len(prompt))
    made = generate(serving.judge, mode, form, prompt, most)
    told: dict[str, Any] = {
        "index": index,
        "text": made.text,
        "logprobs": None if form.logprobs is None else _logprobs(serving, form, made),
        "finish_reason": made.finish_reason,
        "stop_reason": made.stop_reason,
        "prompt_logprobs": None,
        **dict.fromkeys(serving.dialect.generation.choice_keys),
    }
    if form.return_token_ids and "token_ids" in told:
        told |= {"token_ids": made.token_ids, "prompt_token_ids": list(prompt)}
    return told, len(made.token_ids)


def _check_sampling(serving: Serving, form: Completion) -> None:
    dialect = serving.dialect
    if form.max_tokens < 1:
        raise refused_value(
            f"max_tokens must be at least 1, got {form.max_tokens}.",
            "max_tokens",
            form.max_tokens,
            dialect,
        )
    if form.temperature is not None and not 0 <= form.temperature <= dialect.generation.hottest:
        limit = "non-negative" if form.temperature < 0 else f"in [0, {dialect.generation.hottest}]"
        raise refused_value(
            f"temperature must be {limit}, got {form.temperature}.",
            "temperature",
            form.temperature,
            dialect,
        )
    if form.top_p is not None and not 0 < form.top_p <= 1:
        raise refused_value(
            f"top_p must be in (0, 1], got {form.top_p}.", "top_p", form.top_p, dialect
        )
    if form.min_tokens < 0:
        raise Refusal(f"min_tokens must be greater than or equal to 0, got {form.min_tokens}.")
    if form.min_tokens > form.max_tokens:
        raise Refusal(
            f"min_tokens must be less than or equal to max_tokens={form.max_tokens}, "
            f"got {form.min_tokens}."
        )
    if "" in form.stops:
        raise Refusal("stop cannot contain an empty string.")


def _check_logprob_token_ids(serving: Serving, asked: list[int], logprobs: int | None) -> None:
    dialect, parameter, size = serving.dialect, "logprob_token_ids", serving.judge.vocabulary_size
    if logprobs is None:
        raise refused_parameter(
            f"when using `{parameter}`, `logprobs` must be set.", parameter, dialect
        )
    if len(asked) > _MOST_LOGPROB_TOKEN_IDS:
        raise refused_value(
            f"Requested {parameter} of length {len(asked)}, which is greater than max allowed: "
            f"{_MOST_LOGPROB_TOKEN_IDS}",
            parameter,
            len(asked),
            dialect,
        )
    unknown = [token for token in asked if not 0 <= token < size]
    if unknown:
        raise refused_value(
            f"token_id(s) {unknown} in {parameter} contain out-of-vocab token ids. "
            f"Vocabulary size: {size}",
            parameter,
            unknown,
            dialect,
        )


def _check_allowed(serving: Serving, allowed: list[int]) -> None:
    generation, parameter = serving.dialect.generation, "allowed_token_ids"
    if not allowed and generation.no_allowed:
        raise refused_value(generation.no_allowed, parameter, allowed, serving.dialect)
    if any(not 0 <= token < serving.judge.vocabulary_size for token in allowed):
        raise refused_value(generation.unknown_allowed, parameter, allowed, serving.dialect)


def _logprobs(serving: Serving, form: Completion, made: Generated) -> dict[str, Any]:
    """The lists over all generated tokens: the one that ended the generation is in them too."""
    tokens: list[str] = []
    numbers: list[float] = []
    top: list[dict[str, float]] = []
    for position, token in enumerate(made.token_ids):
        reported, before = made.numbers[position], made.token_ids[:position]
        told = {
            _name(serving, form, each, before): max(float(reported[each]), _FLOOR)
            for each in (token, *_others(serving, form, reported))
        }
        tokens.append(_name(serving, form, token, before))
        numbers.append(max(float(reported[token]), _FLOOR))
        top.append(told)
    # Counted in what the tokens are called, which is not always their text.
    offsets = np.cumsum([0, *map(len, tokens)])[:-1].tolist()
    return {
        "text_offset": offsets,
        "token_logprobs": numbers,
        "tokens": tokens,
        "top_logprobs": top,
    }


def _others(serving: Serving, form: Completion, reported: Array) -> list[int]:
    """The tokens whose numbers are told beside the generated one's."""
    if form.logprob_token_ids and serving.dialect.generation.reads_logprob_token_ids:
        return form.logprob_token_ids
    others: list[int] = np.argsort(-reported)[: form.logprobs or 0].tolist()
    return others


def _name(serving: Serving, form: Completion, token: int, before: Sequence[int]) -> str:
    """What a token is called in the lists."""
    if form.return_tokens_as_token_ids:
        return f"token_id:{token}"
    decode = serving.judge.tokenizer.decode
    name = decode([token])
    if not (name.endswith(UNFINISHED) and serving.dialect.generation.completes_tokens):
        return name
    for forerunners in range(1, _LONGEST_CHARACTER):
        joined = decode([*before[-forerunners:], token])
        if not joined.endswith(UNFINISHED):
            return joined
    return ""
