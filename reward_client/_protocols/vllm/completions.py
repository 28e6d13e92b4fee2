"""Generated text by ``/v1/completions``."""

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
    """A generated text.

    Attributes:
        text: The text, without the special token that ends it.
        prompt_tokens: The number of tokens read.
        generated_tokens: The number of tokens generated, the last special token included.
    """

    text: str
    prompt_tokens: int
    generated_tokens: int


def generation_request(
    model: str, ids: TokenIds, *, max_tokens: int, temperature: float, seed: int
) -> Request:
    """Build the request for a text that continues token IDs.

    Args:
        model: The model's name.
        ids: The token IDs.
        max_tokens: The largest number of tokens to generate.
        temperature: The sampling temperature; 0 for the most likely text.
        seed: The sampling seed.
    """
    body: dict[str, object] = {
        "model": model,
        "prompt": orjson.Fragment(ids.written),
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
        # Without these, the model's generation_config.json applies (vLLM 0.7 and later; from 0.33
        # on also for special tokens in the text).
        "skip_special_tokens": True,
        "top_p": 1.0,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }
    return Request("POST", PATH, body)


def read_written(response: Response, ids: Sequence[int]) -> Written:
    """Read the generated text of a response.

    Raises:
        GenerationError: If the length limit cut the text, or the server did not finish it.
        ResponseMismatchError: If the response answers another request.
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
            f"The response does not fit the request, which sent {len(ids)} token IDs for one text: "
            f"it holds {len(choices)} texts and counts "
            f"{read if isinstance(read, int | None) else 'no'} prompt tokens.",
        )
    reason = choice.get("finish_reason")
    if reason != "stop":
        cut = (
            "reached its length limit: raise max_tokens=, or the server's --max-model-len"
            if reason == "length"
            else "was not finished by the server"
        )
        raise GenerationError(
            f"The generated text ({wrote} tokens) {cut}. The text is in error.text.",
            text=text,
            endpoint=response.endpoint,
            request_id=response.request_id,
        )
    return Written(text, len(ids), wrote)
