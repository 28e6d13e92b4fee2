"""Generated text by ``/v1/completions``."""

from __future__ import annotations

import orjson

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.numeric import is_finite_number
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Request, Response
from reward_client._protocols.vllm.logprobs import MAX_LOGPROBS, PATH, token_id
from reward_client._protocols.written import Generated, Position, Sampling


def generation_request(model: str, ids: TokenIds, sampling: Sampling) -> Request:
    """Build the request for a text that continues token IDs.

    All versions answer log-probabilities (live on 0.8.5 to 0.33.0).
    """
    body: dict[str, object] = {
        "model": model,
        "prompt": orjson.Fragment(ids.written),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "seed": sampling.seed,
        # Without these, the model's generation_config.json applies (vLLM 0.7 and later; from 0.33
        # on also for special tokens in the text).
        "skip_special_tokens": True,
        "top_p": 1.0 if sampling.top_p is None else float(sampling.top_p),
        "top_k": -1 if sampling.top_k is None else sampling.top_k,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }
    if sampling.logprobs:
        # By their texts, tokens with the same text would share one number (live on all versions).
        body |= {"logprobs": MAX_LOGPROBS, "return_tokens_as_token_ids": True}
    return Request("POST", PATH, body)


def read_generated(response: Response) -> Generated:
    """Read the generated text of a response. See `Engine`."""
    fields = response.fields()
    usage = as_mapping(fields.get("usage")) or {}
    choices = [as_mapping(choice) or {} for choice in as_list(fields.get("choices")) or ()]
    first = choices[0] if choices else {}
    return Generated(
        texts=[choice.get("text") for choice in choices],
        prompt_tokens=usage.get("prompt_tokens"),
        generated_tokens=usage.get("completion_tokens"),
        finish_reason=first.get("finish_reason"),
        positions=_positions(first.get("logprobs")),
    )


def _positions(value: object) -> tuple[Position, ...] | None:
    """Read the log-probabilities of a choice; None if they are not those of each token."""
    fields = as_mapping(value) or {}
    columns = (as_list(fields.get(key)) for key in ("tokens", "token_logprobs", "top_logprobs"))
    tokens, numbers, tops = columns
    if tokens is None or numbers is None or tops is None:
        return None
    if not len(tokens) == len(numbers) == len(tops):
        return None
    positions = [_position(*each) for each in zip(tokens, numbers, tops, strict=True)]
    read = tuple(each for each in positions if each is not None)
    return read if len(read) == len(positions) else None


def _position(token: object, number: object, top: object) -> Position | None:
    given = {**(as_mapping(top) or {}), str(token): number}
    ids = [token_id(name) for name in given]
    logprobs = {
        token: value
        for token, value in zip(ids, given.values(), strict=True)
        if token is not None and is_finite_number(value)
    }
    chosen = token_id(str(token))
    if chosen is None or as_mapping(top) is None or len(logprobs) < len(given):
        return None
    return Position(chosen, logprobs)
