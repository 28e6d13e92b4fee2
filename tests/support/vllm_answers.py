"""A server that answers like vLLM 0.32.0 with a one-label classifier, as far as the client asks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import cast

from .raw_server import Action, Exchange, Request, http, response

MODEL = "tiny"
BOS = 1
CONVERSATION = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


def reward_of(ids: Sequence[int]) -> float:
    """The reward that this model gives to token IDs."""
    return sum(ids) / 128 - 3


def ids_of(text: str) -> list[int]:
    """The token IDs of a text, without BOS."""
    return [10 + byte for byte in text.encode()]


def text_of(messages: Sequence[dict[str, str]]) -> str:
    """What this model's chat template makes of a conversation."""
    return "".join(f"{turn['role']}: {turn['content']}\n" for turn in messages)


def expected(messages: Sequence[dict[str, str]] = CONVERSATION) -> float:
    """The reward of a conversation."""
    return reward_of([BOS, *ids_of(text_of(messages))])


def answer(request: Request) -> Action:
    """The true answer."""
    match request.path:
        case "/v1/models":
            card = {"id": MODEL, "root": MODEL, "parent": None, "max_model_len": 1024}
            return response({"object": "list", "data": [card]})
        case "/version":
            return response({"version": "0.32.0"})
        case "/openapi.json":
            return response({"paths": {"/tokenize": {}, "/pooling": {}, "/classify": {}}})
        case "/tokenize":
            return response(tokenized(request))
        case "/pooling":
            return response(pooled(request))
        case _:
            return response({"detail": "Not Found"}, 404)


def tokenized(request: Request) -> dict[str, object]:
    """The reply of ``/tokenize``."""
    body = request.json()
    if "messages" in body:
        ids = [BOS, *ids_of(text_of(cast("list[dict[str, str]]", body["messages"])))]
    else:
        ids = [BOS] * bool(body["add_special_tokens"]) + ids_of(str(body["prompt"]))
    return {"count": len(ids), "max_model_len": 1024, "tokens": ids}


def pooled(request: Request, model: str = MODEL) -> dict[str, object]:
    """The reply of ``/pooling``."""
    inputs = cast("list[list[int]]", request.json()["input"])
    count = sum(map(len, inputs))
    return {
        "id": "pool-1",
        "object": "list",
        "created": 0,
        "model": model,
        "data": [
            {"index": index, "object": "pooling", "data": [reward_of(ids)]}
            for index, ids in enumerate(inputs)
        ],
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }


def true_reply(request: Request) -> bytes:
    """The bytes of the true reply of ``/pooling``."""
    return http(json.dumps(pooled(request)).encode())


def as_it_is() -> Action:
    """The true answer, in a plan between other things."""

    async def act(exchange: Exchange) -> None:
        await answer(exchange.request)(exchange)

    return act
