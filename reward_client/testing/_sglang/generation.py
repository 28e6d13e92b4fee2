"""`/generate` and `/v1/completions`: texts and log-probabilities of a server that generates."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from reward_client.testing._model.generate import (
    REPLACEMENT_CHARACTER,
    Generated,
    SamplingParams,
    generate,
)
from reward_client.testing._sglang import inputs, pooling
from reward_client.testing._sglang.errors import ServerDeathError, SglangError, not_implemented

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reward_client.testing._model.llama import Array
    from reward_client.testing._sglang import forms
    from reward_client.testing._sglang.served_model import ServedModel

T = TypeVar("T")
# A token's log-probability, its ID, and its text, which SGLang leaves out.
Logprob = list[Any]

_DEFAULT_MAX_NEW_TOKENS = 128
# Options of SGLang that this server lacks, each with the values that have no effect.
_UNSUPPORTED: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "stream": (False,),
    "top_k": (-1,),
    "min_p": (0,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "logit_bias": ({},),
    "json_schema": (),
    "regex": (),
    "ebnf": (),
    "stop_regex": (),
    "no_stop_trim": (False,),
    "suffix": (),
    "response_format": ({"type": "text"},),
    "return_token_ids": (False,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """The log-probabilities that a request wants for one input.

    Attributes:
        start: The first position of the prompt; None for none.
        top: The number of the likeliest tokens.
        token_ids: The tokens to report at each position; None for none.
    """

    start: int | None
    top: int
    token_ids: list[int] | None


def generated(served: ServedModel, form: forms.Generation) -> Any:
    """Return the response of `/generate`.

    Raises:
        SglangError: If the request is invalid.
        ServerDeathError: If it ends a real server.
    """
    if form.stream:
        raise not_implemented("The test server does not stream, though SGLang does.")
    ids, are_many = _prompts(served, form)
    inputs.check_lengths(served, ids)
    rids = _request_ids(served, form, len(ids), are_many=are_many)
    each = [_of_input(form, index) for index in range(len(ids))]
    if not served.generates:
        items = _embedded(served, ids, rids, each)
        return items if are_many else items[0]
    for prompt, (sampling, wanted) in zip(ids, each, strict=True):
        _check_total(served, len(prompt), sampling.max_tokens)
        _check_labels(served, wanted)
    inputs.check_generates(served, ids)
    items = [
        _item(served, prompt, rid, sampling, wanted)
        for prompt, rid, (sampling, wanted) in zip(ids, rids, each, strict=True)
    ]
    return items if are_many else items[0]


def _embedded(
    served: ServedModel,
    ids: Sequence[Sequence[int]],
    rids: Sequence[str],
    each: Sequence[tuple[SamplingParams, _Wanted | None]],
) -> list[dict[str, Any]]:
    """Return the entries of `/generate` on a server that embeds: embeddings.

    Raises:
        ServerDeathError: If the request wants log-probabilities.
    """
    if any(wanted is not None for _, wanted in each):
        raise ServerDeathError
    inputs.check_survivable(served, ids)
    items = [pooling.native_item(served, pooled) for pooled in pooling.pool(served, ids, rids)]
    for item, (params, _) in zip(items, each, strict=True):
        item["meta_info"]["finish_reason"]["length"] = params.max_tokens
    return items


def _prompts(served: ServedModel, form: forms.Generation) -> tuple[list[list[int]], bool]:
    if form.input_ids is not None:
        if not form.input_ids:
            raise SglangError("input_ids cannot be empty.")
        return inputs.id_inputs(form.input_ids)
    if form.text is None:
        raise SglangError("Either text, input_ids or input_embeds should be provided.")
    return inputs.text_inputs(served, form.text)


def _request_ids(
    served: ServedModel, form: forms.Generation, count: int, *, are_many: bool
) -> list[str]:
    """Return the ID of each input's request; one ID for several inputs is the prefix of theirs."""
    rid = form.rid
    if are_many and isinstance(rid, str):
        rid = [f"{rid}_{index}" for index in range(count)]
    return inputs.request_ids(served, rid, count, are_many=are_many)


def _of_input(form: forms.Generation, index: int) -> tuple[SamplingParams, _Wanted | None]:
    """Return the options for one input: the item of a list of options, or the options for all."""

    def chosen(given: list[T] | T | None, *, default: T) -> T:
        value = cast("list[T]", given)[index] if isinstance(given, list) else given
        return default if value is None else value

    sampling = chosen(form.sampling_params, default={})
    _refuse_unsupported(sampling)
    params = _params(
        max_tokens=sampling.get("max_new_tokens", _DEFAULT_MAX_NEW_TOKENS),
        min_tokens=sampling.get("min_new_tokens", 0),
        temperature=sampling.get("temperature", 1.0),
        top_p=sampling.get("top_p", 1.0),
        seed=sampling.get("sampling_seed"),
        stop=sampling.get("stop"),
        stop_token_ids=sampling.get("stop_token_ids"),
        ignore_eos=sampling.get("ignore_eos", False),
        skip_special_tokens=sampling.get("skip_special_tokens", True),
    )
    if not chosen(form.return_logprob, default=False):
        return params, None
    labels = form.token_ids_logprob or []
    of_each = [tokens for tokens in labels if isinstance(tokens, list)]
    for_all = [token for token in labels if isinstance(token, int)]
    start = chosen(form.logprob_start_len, default=-1)
    wanted = _Wanted(
        start=None if start < 0 else start,
        top=chosen(form.top_logprobs_num, default=0),
        token_ids=(of_each[index] if of_each else for_all) or None,
    )
    return params, wanted


def _params(
    *,
    max_tokens: int,
    min_tokens: int,
    temperature: float,
    top_p: float,
    seed: int | None,
    stop: str | list[str] | None,
    stop_token_ids: list[int] | None,
    ignore_eos: bool,
    skip_special_tokens: bool,
) -> SamplingParams:
    return SamplingParams(
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop=[stop] if isinstance(stop, str) else stop or [],
        stop_token_ids=stop_token_ids or (),
        ignore_eos=ignore_eos,
        skip_special_tokens=skip_special_tokens,
        allowed_token_ids=None,
    )


def _refuse_unsupported(options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        if key in _UNSUPPORTED and value not in (None, *_UNSUPPORTED[key]):
            raise not_implemented(f"The test server does not support `{key}`, though SGLang does.")


def _check_total(served: ServedModel, tokens: int, new_tokens: int) -> None:
    limit = served.max_model_len
    if tokens + new_tokens > limit - (0 if served.dialect.limits_total else 1):
        raise SglangError(
            f"Requested token count exceeds the model's maximum context length of {limit} tokens. "
            f"You requested a total of {tokens + new_tokens} tokens: {tokens} tokens from the "
            f"input messages and {new_tokens} tokens for the completion. Please reduce the number "
            "of tokens in the input messages or the completion to fit within the limit."
        )


def _check_labels(served: ServedModel, wanted: _Wanted | None) -> None:
    size = served.judge.vocabulary_size
    for token in (wanted.token_ids if wanted else None) or ():
        if not 0 <= token < size:
            if not served.dialect.checks_label_ids:
                raise ServerDeathError
            raise SglangError(
                f"token_ids_logprob contains out-of-vocabulary token id {token}; valid range is "
                f"[0, {size})."
            )


def _complete(
    served: ServedModel, params: SamplingParams, prompt: Sequence[int]
) -> tuple[Generated, list[Array]]:
    """Generate; return the generation, and the log-probabilities at each of its positions.

    Without a token to generate, the only position is the one after the prompt.
    """
    # SGLang keeps two tokens of the context free, however many tokens a request wants.
    room = max(served.max_model_len - len(prompt) - 2, 0)
    params = replace(params, max_tokens=min(params.max_tokens, room))
    if params.max_tokens == 0 and served.dialect.generates_nothing:
        return Generated([], [], finish_reason="length"), [_logprobs(served, prompt)]
    done = generate(served.judge, "processed_logprobs", params, prompt)
    if done.finish_reason == "length":
        # A server that still waits for the rest of a character sends what it has.
        done.text = served.judge.tokenizer.decode(
            done.token_ids, skip_special_tokens=params.skip_special_tokens
        )
    return done, done.reported


def _logprobs(served: ServedModel, prompt: Sequence[int]) -> Array:
    logits = served.judge.logits(prompt)
    logprobs: Array = logits - np.logaddexp.reduce(logits)
    return logprobs


def _item(
    served: ServedModel,
    prompt: Sequence[int],
    rid: str,
    params: SamplingParams,
    wanted: _Wanted | None,
) -> dict[str, Any]:
    started = time.time()
    done, positions = _complete(served, params, prompt)
    dialect, count = served.dialect, len(done.token_ids)
    reason: dict[str, object] = {"type": "length", "length": min(count, params.max_tokens)}
    if done.finish_reason == "stop":
        reason = {"type": "stop", "matched": _matched(served, done)}
    facts: dict[str, Any] = {
        "id": rid,
        "finish_reason": reason,
        "prompt_tokens": len(prompt),
        **dialect.meta_keys,
    }
    if wanted is not None:
        facts |= _reported(served, prompt, done, positions, wanted)
    facts |= _counts(served, count)
    now = time.time()
    facts["e2e_latency"] = now - started
    if dialect.reports_sent:
        facts["response_sent_to_client_ts"] = now
    ids = {"output_ids": done.token_ids} if dialect.reports_output_ids else {}
    return {"text": done.text, **ids, "meta_info": facts}


def _matched(served: ServedModel, done: Generated) -> object:
    return served.judge.tokenizer.end_token_id if done.stop_reason is None else done.stop_reason


def _counts(served: ServedModel, count: int) -> dict[str, Any]:
    if not served.dialect.tells_more:
        return {"completion_tokens": count, "cached_tokens": 0}
    return {
        "reasoning_tokens": 0,
        "completion_tokens": count,
        "cached_tokens": 0,
        "weight_versions": [{"version": "default", "start": 0, "end": count}],
        "cached_tokens_details": None,
        "dp_rank": None,
    }


def _reported(
    served: ServedModel,
    prompt: Sequence[int],
    done: Generated,
    positions: Sequence[Array],
    wanted: _Wanted,
) -> dict[str, Any]:
    """Return the log-probabilities of the prompt and of the generated tokens."""
    before: list[Array] = []
    tokens: list[int] = []
    start = wanted.start
    if start is None and served.dialect.reports_last:
        start = len(prompt) - 1
    if start is not None:
        tokens = list(prompt[start:])
        # The first of the positions has no log-probabilities: SGLang reports null there.
        before = [_logprobs(served, prompt[:end]) for end in range(start + 1, len(prompt))]
    first = [None] if tokens else []
    written = positions[: len(done.token_ids)]
    facts: dict[str, Any] = {
        "input_token_logprobs": [
            [None if index == 0 else float(before[index - 1][token]), token, None]
            for index, token in enumerate(tokens)
        ],
        "output_token_logprobs": [
            [float(logprobs[token]), token, None]
            for logprobs, token in zip(written, done.token_ids, strict=True)
        ],
    }
    if served.dialect.tells_more:
        facts["output_token_logprobs_length"] = len(done.token_ids)
    if wanted.top:
        facts["input_top_logprobs"] = [*first, *(_top(each, wanted.top) for each in before)]
        facts["output_top_logprobs"] = [_top(each, wanted.top) for each in positions]
    if wanted.token_ids is not None:
        facts["input_token_ids_logprobs"] = [
            *first,
            *(_of(each, wanted.token_ids) for each in before),
        ]
        facts["output_token_ids_logprobs"] = [_of(each, wanted.token_ids) for each in positions]
    return facts


def _of(logprobs: Array, token_ids: Sequence[int]) -> list[Logprob]:
    return [[float(logprobs[token]), token, None] for token in token_ids]


def _top(logprobs: Array, count: int) -> list[Logprob]:
    return _of(logprobs, np.argsort(-logprobs)[:count].tolist())


def completed(
    served: ServedModel, form: forms.Completion | forms.NamedCompletion
) -> dict[str, Any]:
    """Return the response of `/v1/completions`.

    Raises:
        SglangError: If the request is invalid.
        ServerDeathError: If it ends a real server.
    """
    _refuse_unsupported(form.model_extra or {})
    _check_prompt(served, form)
    if not served.generates:
        # SGLang looks for the text in an embedding.
        message = "Internal server error: 'text'"
        raise SglangError(message, status=500, error_type="InternalServerError")
    texts = [form.prompt] if isinstance(form.prompt, str) else form.prompt
    written = [text for text in texts if isinstance(text, str)]
    if written:
        ids, _ = inputs.text_inputs(served, written)
    else:
        ids, _ = inputs.id_inputs([each for each in texts if not isinstance(each, str)])
    inputs.check_lengths(served, ids)
    for prompt in ids:
        _check_total(served, len(prompt), form.max_tokens)
    inputs.check_generates(served, ids)
    params = _params(
        max_tokens=form.max_tokens,
        min_tokens=form.min_tokens,
        temperature=form.temperature,
        top_p=form.top_p,
        seed=form.seed,
        stop=form.stop,
        stop_token_ids=form.stop_token_ids,
        ignore_eos=form.ignore_eos,
        skip_special_tokens=form.skip_special_tokens,
    )
    done = [_complete(served, params, prompt)[0] for prompt in ids]
    count = sum(len(each.token_ids) for each in done)
    version = {"version": "default", "start": 0, "end": len(done[0].token_ids)}
    metadata = {"weight_version": "default", "weight_versions": [version]}
    return {
        "id": secrets.token_hex(16),
        "object": "text_completion",
        "created": int(time.time()),
        "model": form.model,
        "choices": [_choice(served, form, index, each) for index, each in enumerate(done)],
        "usage": pooling.usage(served, sum(map(len, ids)), count),
        **({"metadata": metadata} if served.dialect.tells_more else {}),
    }


def _check_prompt(served: ServedModel, form: forms.AnyCompletion) -> None:
    if form.prompt and not (isinstance(form.prompt, list) and not any(form.prompt)):
        return
    message = served.dialect.no_prompt
    if message is not None:
        raise SglangError(message)
    if form.prompt == []:
        message = "Internal server error: list index out of range"
        raise SglangError(message, status=500, error_type="InternalServerError")


def _choice(
    served: ServedModel, form: forms.AnyCompletion, index: int, done: Generated
) -> dict[str, Any]:
    return {
        "index": index,
        "text": done.text,
        "logprobs": None if form.logprobs is None else _openai_logprobs(served, form, done),
        "finish_reason": done.finish_reason,
        "matched_stop": _matched(served, done) if done.finish_reason == "stop" else None,
    }


def _openai_logprobs(
    served: ServedModel, form: forms.AnyCompletion, done: Generated
) -> dict[str, Any]:
    rows = list(zip(done.token_ids, done.reported, strict=True))
    return {
        "text_offset": [-1] * len(rows),
        "token_logprobs": [float(logprobs[token]) for token, logprobs in rows],
        "tokens": [_name(served, token) for token, _ in rows],
        "top_logprobs": [
            {
                _name(served, token): logprob
                for logprob, token, _ in _top(logprobs, form.logprobs or 0)
            }
            for _, logprobs in rows
        ],
    }


def _name(served: ServedModel, token: int) -> str:
    """Return the text of a token; for a part of a character, its entry in the vocabulary."""
    text = served.judge.tokenizer.decode([token])
    return served.judge.tokenizer.strings([token])[0] if REPLACEMENT_CHARACTER in text else text
