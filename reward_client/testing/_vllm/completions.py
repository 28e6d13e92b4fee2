"""`/v1/completions`: the validation of a request, and the choices of its response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from reward_client.testing._model.generate import (
    REPLACEMENT_CHARACTER,
    LogprobsMode,
    SamplingParams,
    generate,
)
from reward_client.testing._vllm.errors import (
    VllmError,
    invalid_parameter,
    invalid_value,
    not_implemented,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing._model.generate import Generated
    from reward_client.testing._model.llama import Array
    from reward_client.testing._vllm.completion_forms import Completion
    from reward_client.testing._vllm.served_model import ServedModel

_MAX_LOGPROBS = 20
_MAX_LOGPROB_TOKEN_IDS = 128
# As in vLLM, which replaces minus infinity so that the response stays JSON.
_MIN_REPORTED = -9999.0
# In UTF-8: a character spans at most as many tokens.
_MAX_CHARACTER_BYTES = 4
# Options of vLLM that this server lacks, each with the values that have no effect.
_UNSUPPORTED: dict[str, tuple[object, ...]] = {
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


def check(served: ServedModel, form: Completion) -> None:
    """Refuse options that are invalid for any prompt.

    Raises:
        VllmError: If vLLM refuses an option, or if this server does not support it.
    """
    for key, value in (form.model_extra or {}).items():
        if key in _UNSUPPORTED and value not in (None, *_UNSUPPORTED[key]):
            raise not_implemented(f"The test server does not support `{key}`, though vLLM does.")
    _check_sampling(served, form)
    check_logprobs(served, form.logprobs)
    if form.logprob_token_ids and served.dialect.generation.reads_logprob_token_ids:
        _check_logprob_token_ids(served, form.logprob_token_ids, form.logprobs)
    if form.allowed_token_ids is not None:
        _check_allowed(served, form.allowed_token_ids)


def check_logprobs(served: ServedModel, logprobs: int | None) -> None:
    """Refuse more log-probabilities for each token than vLLM reports.

    Raises:
        VllmError: If the number is too large.
    """
    # 0.32 reads -1 as the whole vocabulary; the other versions refuse it in other words.
    requested = served.judge.vocabulary_size if logprobs == -1 else logprobs or 0
    if requested > _MAX_LOGPROBS:
        message = served.dialect.generation.too_many_logprobs
        raise invalid_value(
            message.format(requested=requested, limit=_MAX_LOGPROBS),
            "logprobs",
            requested,
            served.dialect,
        )


def choice(
    served: ServedModel, mode: LogprobsMode, form: Completion, index: int, prompt: Sequence[int]
) -> tuple[dict[str, Any], int]:
    """Generate after a prompt; return the entry of `choices` and its number of tokens."""
    max_tokens = min(form.max_tokens, served.max_model_len - len(prompt))
    generated = generate(served.judge, mode, _sampling_params(form, max_tokens), prompt)
    entry: dict[str, Any] = {
        "index": index,
        "text": generated.text,
        "logprobs": None if form.logprobs is None else _logprobs(served, form, generated),
        "finish_reason": generated.finish_reason,
        "stop_reason": generated.stop_reason,
        "prompt_logprobs": None,
        **dict.fromkeys(served.dialect.generation.choice_keys),
    }
    if form.return_token_ids and "token_ids" in entry:
        entry |= {"token_ids": generated.token_ids, "prompt_token_ids": list(prompt)}
    return entry, len(generated.token_ids)


def _sampling_params(form: Completion, max_tokens: int) -> SamplingParams:
    return SamplingParams(
        max_tokens=max_tokens,
        min_tokens=form.min_tokens,
        temperature=form.temperature,
        top_p=form.top_p,
        seed=form.seed,
        stop=form.stop_texts,
        stop_token_ids=form.stop_token_ids or (),
        ignore_eos=form.ignore_eos,
        skip_special_tokens=form.skip_special_tokens,
        allowed_token_ids=form.allowed_token_ids,
    )


def _check_sampling(served: ServedModel, form: Completion) -> None:
    dialect = served.dialect
    if form.max_tokens < 1:
        raise invalid_value(
            f"max_tokens must be at least 1, got {form.max_tokens}.",
            "max_tokens",
            form.max_tokens,
            dialect,
        )
    maximum = dialect.generation.max_temperature
    if form.temperature is not None and not 0 <= form.temperature <= maximum:
        limit = "non-negative" if form.temperature < 0 else f"in [0, {maximum}]"
        raise invalid_value(
            f"temperature must be {limit}, got {form.temperature}.",
            "temperature",
            form.temperature,
            dialect,
        )
    if form.top_p is not None and not 0 < form.top_p <= 1:
        raise invalid_value(
            f"top_p must be in (0, 1], got {form.top_p}.", "top_p", form.top_p, dialect
        )
    if form.min_tokens < 0:
        raise VllmError(f"min_tokens must be greater than or equal to 0, got {form.min_tokens}.")
    if form.min_tokens > form.max_tokens:
        raise VllmError(
            f"min_tokens must be less than or equal to max_tokens={form.max_tokens}, "
            f"got {form.min_tokens}."
        )
    if "" in form.stop_texts:
        raise VllmError("stop cannot contain an empty string.")


def _check_logprob_token_ids(
    served: ServedModel, requested: list[int], logprobs: int | None
) -> None:
    dialect, parameter, size = served.dialect, "logprob_token_ids", served.judge.vocabulary_size
    if logprobs is None:
        raise invalid_parameter(
            f"when using `{parameter}`, `logprobs` must be set.", parameter, dialect
        )
    if len(requested) > _MAX_LOGPROB_TOKEN_IDS:
        raise invalid_value(
            f"Requested {parameter} of length {len(requested)}, which is greater than max "
            f"allowed: {_MAX_LOGPROB_TOKEN_IDS}",
            parameter,
            len(requested),
            dialect,
        )
    unknown = [token for token in requested if not 0 <= token < size]
    if unknown:
        raise invalid_value(
            f"token_id(s) {unknown} in {parameter} contain out-of-vocab token ids. "
            f"Vocabulary size: {size}",
            parameter,
            unknown,
            dialect,
        )


def _check_allowed(served: ServedModel, allowed: list[int]) -> None:
    generation, parameter = served.dialect.generation, "allowed_token_ids"
    if not allowed and generation.empty_allowed:
        raise invalid_value(generation.empty_allowed, parameter, allowed, served.dialect)
    if any(not 0 <= token < served.judge.vocabulary_size for token in allowed):
        raise invalid_value(generation.unknown_allowed, parameter, allowed, served.dialect)


def _logprobs(served: ServedModel, form: Completion, generated: Generated) -> dict[str, Any]:
    """Return the lists over all generated tokens, including an end token."""
    tokens: list[str] = []
    numbers: list[float] = []
    top: list[dict[str, float]] = []
    for position, token in enumerate(generated.token_ids):
        reported, before = generated.reported[position], generated.token_ids[:position]
        top.append(
            {
                _name(served, form, other, before): max(float(reported[other]), _MIN_REPORTED)
                for other in (token, *_others(served, form, reported))
            }
        )
        tokens.append(_name(served, form, token, before))
        numbers.append(max(float(reported[token]), _MIN_REPORTED))
    # As in vLLM, offsets count the characters of the names, which may differ from the text.
    offsets = np.cumsum([0, *map(len, tokens)])[:-1].tolist()
    return {
        "text_offset": offsets,
        "token_logprobs": numbers,
        "tokens": tokens,
        "top_logprobs": top,
    }


def _others(served: ServedModel, form: Completion, reported: Array) -> list[int]:
    """Return the tokens to report beside the generated token."""
    if form.logprob_token_ids and served.dialect.generation.reads_logprob_token_ids:
        return form.logprob_token_ids
    others: list[int] = np.argsort(-reported)[: form.logprobs or 0].tolist()
    return others


def _name(served: ServedModel, form: Completion, token: int, before: Sequence[int]) -> str:
    """Return the name of a token in the lists."""
    if form.return_tokens_as_token_ids:
        return f"token_id:{token}"
    decode = served.judge.tokenizer.decode
    name = decode([token])
    if not (name.endswith(REPLACEMENT_CHARACTER) and served.dialect.generation.completes_tokens):
        return name
    for earlier in range(1, _MAX_CHARACTER_BYTES):
        joined = decode([*before[-earlier:], token])
        if not joined.endswith(REPLACEMENT_CHARACTER):
            return joined
    return ""
