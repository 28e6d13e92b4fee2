"""Generated text by ``/generate``."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.numeric import is_finite_number
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Request, Response
from reward_client._protocols.sglang.logprobs import PATH
from reward_client._protocols.written import Generated, Position, Sampling

_LIKELIEST = 20
"""The likeliest tokens at each position, as with vLLM."""


def generation_request(model: str, ids: TokenIds, sampling: Sampling) -> Request:
    """Build the request for a text that continues token IDs."""
    parameters: dict[str, object] = {
        "max_new_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "sampling_seed": sampling.seed,
        "skip_special_tokens": True,
        "top_p": 1.0 if sampling.top_p is None else float(sampling.top_p),
        "top_k": -1 if sampling.top_k is None else sampling.top_k,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
    }
    body: dict[str, object] = {
        "model": model,
        "input_ids": orjson.Fragment(ids.written),
        "sampling_params": parameters,
    }
    if sampling.logprobs:
        body |= {"return_logprob": True, "top_logprobs_num": _LIKELIEST}
    return Request("POST", PATH, body, id_key="rid", may_kill=True)


def read_generated(response: Response) -> Generated:
    """Read the generated text of a response. See `Engine`."""
    fields = response.fields()
    info = as_mapping(fields.get("meta_info")) or {}
    return Generated(
        texts=[fields["text"]] if "text" in fields else [],
        prompt_tokens=info.get("prompt_tokens"),
        generated_tokens=info.get("completion_tokens"),
        finish_reason=(as_mapping(info.get("finish_reason")) or {}).get("type"),
        positions=_positions(info),
    )


def _positions(info: Mapping[str, object]) -> tuple[Position, ...] | None:
    """Read the log-probabilities of a text; None if they are not those of each token."""
    chosen = as_list(info.get("output_token_logprobs"))
    tops = as_list(info.get("output_top_logprobs"))
    if chosen is None or tops is None or len(chosen) != len(tops):
        return None
    positions: list[Position] = []
    for one, top in zip(chosen, tops, strict=True):
        entries = [as_list(entry) for entry in (one, *(as_list(top) or ()))]
        logprobs = {
            entry[1]: float(entry[0])
            for entry in entries
            if entry is not None
            and len(entry) >= 2
            and type(entry[1]) is int
            and is_finite_number(entry[0])
        }
        first = entries[0]
        if first is None or len(logprobs) < 1 or first[1] not in logprobs:
            return None
        positions.append(Position(int(str(first[1])), logprobs))
    return tuple(positions)
