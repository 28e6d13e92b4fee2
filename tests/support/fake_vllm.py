"""A vLLM below the client that does as it is told, for what real servers cannot be made to do."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
CHAT_TOKENS = [1, 10, 11, 12]
BOS = 1
_PROBE = list(range(20, 60))

NESTED_404 = (404, {"detail": "Not Found"})


def card(name: str, *, root: str | None = "root", parent: str | None = None) -> dict[str, Any]:
    return {"id": name, "root": root, "parent": parent, "max_model_len": 1024}


def by_length(ids: list[int]) -> list[float]:
    """A raw reward that differs from input to input, on both sides of [0, 1]."""
    return [len(ids) - 5.5]


@dataclass
class FakeVllm:
    """Attributes say what it serves; `requests` is what it was asked."""

    version: Any = "0.32.0"
    cards: list[dict[str, Any]] = field(default_factory=lambda: [card("judge")])
    paths: list[str] | None = field(
        default_factory=lambda: ["/tokenize", "/pooling", "/classify", "/v1/models"]
    )
    pool: Callable[[list[int]], Any] = by_length
    tasks: tuple[str | None, ...] = ("classify",)
    heeds_switch: bool = True
    response_model: str | None = None
    chat_tokens: list[int] = field(default_factory=lambda: CHAT_TOKENS)
    probe: list[int] = field(default_factory=lambda: _PROBE)
    before: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
    requests: list[tuple[str, Any]] = field(default_factory=list)

    def transport(self) -> httpx.AsyncBaseTransport:
        async def answer(request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(0)  # as a network would, it lets others run
            return self.answer(request)

        return httpx.MockTransport(answer)

    def asked(self, path: str) -> list[Any]:
        return [body for asked, body in self.requests if asked == path]

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        body = json.loads(request.content) if request.content else None
        self.requests.append((path, body))
        early = self.before(request)
        if early is not None:
            return early
        answers: dict[str, Callable[[Any], tuple[int, Any]]] = {
            "/version": lambda _: (200, {"version": self.version}) if self.version else NESTED_404,
            "/v1/models": lambda _: (200, {"object": "list", "data": self.cards}),
            "/openapi.json": self._openapi,
            "/tokenize": self._tokenize,
            "/pooling": self._pooling,
        }
        status, payload = answers.get(path, lambda _: NESTED_404)(body)
        return httpx.Response(status, json=payload)

    def _openapi(self, _: Any) -> tuple[int, Any]:
        return (200, {"paths": dict.fromkeys(self.paths)}) if self.paths is not None else NESTED_404

    def _tokenize(self, body: Any) -> tuple[int, Any]:
        if "messages" in body:
            tokens = self.chat_tokens
        else:
            tokens = [BOS, *self.probe] if body["add_special_tokens"] else self.probe
        return 200, {"count": len(tokens), "max_model_len": 1024, "tokens": tokens}

    def _pooling(self, body: Any) -> tuple[int, Any]:
        if body.get("task") not in self.tasks:
            message = f"Unsupported task: {body.get('task')!r}"
            return 400, {"error": {"message": message, "type": "BadRequestError", "code": 400}}
        if body["model"] not in {c["id"] for c in self.cards}:
            message = f"The model `{body['model']}` does not exist."
            return 404, {"error": {"message": message, "type": "NotFoundError", "code": 404}}
        count = sum(map(len, body["input"]))
        squash = self.heeds_switch and body.get("use_activation") is True
        return 200, {
            "model": self.response_model or body["model"],
            "data": [
                {"index": index, "data": _squashed(self.pool(ids)) if squash else self.pool(ids)}
                for index, ids in enumerate(body["input"])
            ],
            "usage": {"prompt_tokens": count},
        }


def _squashed(values: Any) -> Any:
    """The sigmoid of each number, however they are nested."""
    if isinstance(values, list):
        return [_squashed(value) for value in values]
    return 1 / (1 + math.exp(-values))


@dataclass
class EmbeddingVllm(FakeVllm):
    """Also answers `/detokenize`, and `/v1/embeddings` with its values."""

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path not in ("/detokenize", "/v1/embeddings"):
            return super().answer(request)
        body = json.loads(request.content)
        self.requests.append((path, body))
        early = self.before(request)
        if early is not None:
            return early
        if path == "/detokenize":
            return httpx.Response(200, json={"prompt": " ".join(map(str, body["tokens"]))})
        return httpx.Response(200, json=self._embedded(body))

    def _embedded(self, body: dict[str, Any]) -> dict[str, Any]:
        values = [self.pool(ids) for ids in body["input"]]
        items = list(map(_base64, values)) if body["encoding_format"] == "base64" else values
        return {
            "model": self.cards[0]["id"],
            "data": [{"index": index, "embedding": item} for index, item in enumerate(items)],
            "usage": {"prompt_tokens": sum(map(len, body["input"]))},
        }


def _base64(row: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode()


EMBEDDINGS_ONLY = ["/tokenize", "/detokenize", "/v1/embeddings", "/v1/models"]


def embedding_server(**options: Any) -> EmbeddingVllm:
    """One that has no other route to pooled output."""
    return EmbeddingVllm(paths=EMBEDDINGS_ONLY, **options)
