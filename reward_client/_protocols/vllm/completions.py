"""``/v1/completions`` of a generating server: a text that follows token IDs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Request, Response
from reward_client._protocols.vllm.logprobs import PATH
from reward_client.errors import GenerationError, ResponseMismatchError


class Written(NamedTuple):
    """What a model wrote.

    Attributes:
        text: Without the special token that ends it.
        prompt_tokens: How many tokens it read.
        generated_tokens: How many it wrote, with the one that ends it.
    """

    text: str
    prompt_tokens: int
    generated_tokens: int


def generation_call(
    model: str, ids: TokenIds, *, max_tokens: int, temperature: float, seed: int
) -> Request:
    """The request for the text that follows a token list.

    Args:
        model: The model's name.
        ids: The token list.
        max_tokens: The most tokens of the text.
        temperature: 0 for the likeliest text.
        seed: What it is sampled by.
    """
    body: dict[str, object] = {
        "model": model,
        "prompt": orjson.Fragment(ids.written),
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
        # Else those of the model's generation_config.json hold (vLLM 0.7 and later).
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }
    return Request("POST", PATH, body)


def read_written(response: Response, ids: Sequence[int]) -> Written:
    """The text of a reply.

    Raises:
        GenerationError: It was cut by its length limit, or otherwise not finished.
        ResponseMismatchError: It is the answer to another request.
    """
    fields = response.fields()
    usage = as_mapping(fields.get("usage")) or {}
    read, wrote = usage.get("prompt_tokens"), usage.get("completion_tokens")
    choices = as_list(fields.get("choices")) or []
    choice = as_mapping(choices[0]) if len(choices) == 1 else None
    text = choice.get("text") if choice is not None else None
    if read != len(ids) or type(wrote) is not int or choice is None or not isinstance(text, str):
        raise response.error(
            ResponseMismatchError,
            f"{len(ids)} token IDs were sent for one text. The reply holds {len(choices)}, or what "
            "is no text, or is that to another request: it counts "
            f"{read if isinstance(read, int | None) else 'no'} tokens read.",
        )
    reason = choice.get("finish_reason")
    if reason != "stop":
        cut = (
            "was cut by the limit of its length: a larger max_tokens= may help, or the server's "
            "--max-model-len"
            if reason == "length"
            else "was not finished by the server"
        )
        raise GenerationError(
            f"What the model wrote ({wrote} tokens) {cut}. The text is in error.text.",
            text=text,
            endpoint=response.endpoint,
            request_id=response.request_id,
        )
    return Written(text, len(ids), wrote)
