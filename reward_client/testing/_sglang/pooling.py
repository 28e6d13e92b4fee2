"""Pooling: from token IDs to the values of a head, and the responses with them."""

from __future__ import annotations

import base64
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reward_client.testing._model.llama import Array
    from reward_client.testing._sglang.served_model import ServedModel

# transformers' default, which counts for a model without a head.
_LABELS_OF_NO_HEAD = 2


@dataclass(frozen=True, slots=True)
class Pooled:
    """The values of one input.

    Attributes:
        rid: The ID of its request.
        tokens: The number of its tokens.
        started: The time at which the request arrived.
    """

    rid: str
    tokens: int
    values: Array
    started: float


def pooled_values(served: ServedModel, token_ids: Sequence[int]) -> Array:
    """Return the values of an input: those of its last token, raw unless the model embeds."""
    row = served.judge.evaluate(token_ids).outputs(served.head)[-1]
    if served.values is not None:
        row = np.full_like(row, served.values(list(token_ids)))
    if served.head == "embed":
        unit: Array = row / np.linalg.norm(row)
        return unit
    biased: Array = row + np.float32(served.score_bias)
    return biased


def pool(served: ServedModel, inputs: Sequence[Sequence[int]], rids: Sequence[str]) -> list[Pooled]:
    """Pool the inputs; an empty one has the values of its neighbour."""
    started = time.time()
    # SGLang pools where the tokens so far end, which is a token of another input.
    last = next((ids for ids in reversed(inputs) if ids), ())
    pooled: list[Pooled] = []
    for rid, ids in zip(rids, inputs, strict=True):
        last = ids or last
        pooled.append(Pooled(rid, len(ids), pooled_values(served, last), started))
    return pooled


def meta_info(served: ServedModel, pooled: Pooled) -> dict[str, Any]:
    """Return the facts about one input."""
    now = time.time()
    facts = {
        "id": pooled.rid,
        "finish_reason": {"type": "length", "length": 0},
        "prompt_tokens": pooled.tokens,
        **served.dialect.meta_keys,
        "e2e_latency": now - pooled.started,
    }
    return {**facts, "response_sent_to_client_ts": now} if served.dialect.reports_sent else facts


def native_item(
    served: ServedModel, pooled: Pooled, *, with_hidden_state: bool = False
) -> dict[str, Any]:
    """Return the entry of `/classify` and `/encode` for one input."""
    item = {"embedding": pooled.values.tolist(), "meta_info": meta_info(served, pooled)}
    # SGLang serializes the tensor of the hidden state to this.
    return {**item, "pooled_hidden_state": {}} if with_hidden_state else item


def embeddings(
    served: ServedModel, pooled: Sequence[Pooled], encoding_format: str
) -> dict[str, Any]:
    """Return the response of `/v1/embeddings`."""
    data = [
        {"embedding": _encoded(each.values, encoding_format), "index": index, "object": "embedding"}
        for index, each in enumerate(pooled)
    ]
    body = {"data": data, "model": served.path, "object": "list"}
    return {**body, "usage": usage(served, sum(each.tokens for each in pooled))}


def classification(served: ServedModel, pooled: Sequence[Pooled]) -> dict[str, Any]:
    """Return the response of `/v1/classify`: a softmax, which is 1 for one label."""
    return {
        "id": f"classify-{secrets.token_hex(16)}",
        "object": "list",
        "created": int(time.time()),
        "model": served.name,
        "data": [
            {"index": index, **_classified(served, each.values)}
            for index, each in enumerate(pooled)
        ],
        "usage": usage(served, sum(each.tokens for each in pooled)),
    }


def _classified(served: ServedModel, values: Array) -> dict[str, Any]:
    label, labels = int(values.argmax()), len(values)
    if served.head == "embed":
        labels = _LABELS_OF_NO_HEAD
    if label >= labels:
        return {"label": "Default", "probs": [1.0], "num_classes": 1}
    probabilities = softmax(values)
    return {
        "label": f"LABEL_{label}",
        "probs": probabilities.tolist(),
        "num_classes": len(probabilities),
    }


def usage(served: ServedModel, tokens: int, generated: int = 0) -> Mapping[str, object]:
    """Return the number of tokens of a request and of its completion."""
    return {
        "prompt_tokens": tokens,
        "total_tokens": tokens + generated,
        "completion_tokens": generated,
        "prompt_tokens_details": None,
        **served.dialect.usage_keys,
    }


def softmax(values: Array) -> Array:
    """Return the probabilities of logits, or of log-probabilities."""
    exponentials: Array = np.exp(values - values.max())
    probabilities: Array = exponentials / exponentials.sum()
    return probabilities


def _encoded(values: Array, encoding_format: str) -> list[float] | str:
    if encoding_format == "base64":
        return base64.b64encode(values.astype("<f4").tobytes()).decode()
    numbers: list[float] = values.tolist()
    return numbers
