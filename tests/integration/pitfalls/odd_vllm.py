"""A fake vLLM with the routes that doctors and embedding servers need as well."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from typing import Any

import httpx

from ...support.fake_vllm import FakeVllm


@dataclass
class OddVllm(FakeVllm):
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


def embedding_server(**options: Any) -> OddVllm:
    """One that has no other route to pooled output."""
    return OddVllm(paths=EMBEDDINGS_ONLY, **options)
