"""A fake vLLM with the routes that doctors and embedding servers need as well."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from typing import Any

import httpx

from ..fake_vllm import FakeVllm


@dataclass
class OddVllm(FakeVllm):
    """Also answers `/detokenize`, and `/v1/embeddings` with its values in base64."""

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
        return httpx.Response(200, json=self._embedded(body["input"]))

    def _embedded(self, inputs: list[list[int]]) -> dict[str, Any]:
        values = [self.pool(ids) for ids in inputs]
        encoded = [base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode() for row in values]
        return {
            "model": self.cards[0]["id"],
            "data": [{"index": index, "embedding": item} for index, item in enumerate(encoded)],
            "usage": {"prompt_tokens": sum(map(len, inputs))},
        }


def embedding_server(**options: Any) -> OddVllm:
    """One that has no other route to pooled output."""
    return OddVllm(paths=["/tokenize", "/detokenize", "/v1/embeddings", "/v1/models"], **options)
