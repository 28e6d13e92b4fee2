"""Recorded exchanges with real vLLM servers, replayed below the client as an httpx transport.

Each file of `data/` holds what a live ``vllm serve`` of one version answered for one tiny model on
the CPU in float32 (13 conversations), and the rewards that transformers and torch give for it.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

_DATA = Path(__file__).parent / "data"
_PROBE_TOKENS = 60
_FLOAT32_BYTES = 4


def names() -> list[str]:
    """All recordings: version and kind of model."""
    return sorted(path.stem for path in _DATA.glob("*.json"))


@dataclass
class Recording:
    """One server of the recordings.

    A request is answered only if it asks in the way that was recorded; anything else fails the
    test. Token lists that were not recorded (the client's probes) get a recorded value, repeated
    for each token where the server answers per token.
    """

    name: str
    requests: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.data: dict[str, Any] = json.loads((_DATA / f"{self.name}.json").read_text())

    @property
    def conversations(self) -> list[list[dict[str, str]]]:
        return [exchange["messages"] for exchange in self.data["tokenize"]]

    @property
    def token_ids(self) -> list[list[int]]:
        return [exchange["tokens"] for exchange in self.data["tokenize"]]

    @property
    def rewards(self) -> list[float]:
        return [self.data["rewards"][name][-1] for name in self.data["conversations"]]

    def transport(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "GET":
            return self._get(path)
        body = json.loads(request.content)
        self.requests.append({"path": path, "json": body, "content": request.content})
        return self._tokenize(body) if path == "/tokenize" else self._pool(path, body)

    def _get(self, path: str) -> httpx.Response:
        known = {
            "/version": self.data["version"],
            "/v1/models": self.data["models"],
            "/openapi.json": {"paths": dict.fromkeys(self.data["paths"])},
        }
        return httpx.Response(200, json=known[path])

    def _tokenize(self, body: dict[str, Any]) -> httpx.Response:
        if "messages" in body:
            assert body["add_generation_prompt"] is False
            assert body["continue_final_message"] is False
            (tokens,) = (
                exchange["tokens"]
                for exchange in self.data["tokenize"]
                if exchange["messages"] == body["messages"]
            )
        else:
            tokens = max(self.token_ids, key=len)[:_PROBE_TOKENS]
        return httpx.Response(
            200, json={"count": len(tokens), "max_model_len": 1024, "tokens": tokens}
        )

    def _pool(self, path: str, body: dict[str, Any]) -> httpx.Response:
        asked = _normalized({key: value for key, value in body.items() if key != "input"})
        for refusal in self.data["refusals"]:
            if (path, asked) == (refusal["path"], _normalized(refusal["request"])):
                if refusal["json"] is None:
                    return httpx.Response(refusal["status"], text=refusal["text"])
                return httpx.Response(refusal["status"], json=refusal["json"])
        for answer in self.data["answers"]:
            if (path, asked) == (answer["path"], self._as_asked(answer["request"])):
                empty = type(answer["items"][0]["value"])() if "prm" in self.name else None
                return httpx.Response(200, json=_reply(answer, body["input"], empty))
        raise AssertionError(f"{self.name}: {path} was never asked like {asked}")

    def _as_asked(self, recorded: dict[str, Any]) -> dict[str, Any]:
        """The recorded request without a key that its server ignores, as any unknown one."""
        ignored = "task" not in recorded
        kept = {k: v for k, v in recorded.items() if not (ignored and k == "use_activation")}
        return _normalized(kept)


def _normalized(request: dict[str, Any]) -> dict[str, Any]:
    return {"encoding_format": "float", **request}


def _reply(answer: dict[str, Any], inputs: list[list[int]], unknown: Any) -> dict[str, Any]:
    """The recorded values of these inputs; `unknown` (or a like value) for the others."""
    recorded = {tuple(item["token_ids"]): item["value"] for item in answer["items"]}
    values = list(recorded.values())
    data = []
    for index, ids in enumerate(inputs):
        value = recorded.get(tuple(ids))
        if value is None and unknown is not None:
            value = unknown  # a process reward model answers nothing where there is no step
        elif value is None:
            value = _resized(values[index], len(answer["items"][index]["token_ids"]), len(ids))
        data.append({"index": index, "object": "pooling", answer["key"]: value})
    count = sum(map(len, inputs))
    return {
        **answer["envelope"],
        "data": data,
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }


def _resized(value: Any, recorded_tokens: int, tokens: int) -> Any:
    """A recorded value as it would be for another number of tokens."""
    if isinstance(value, list):
        return value[:tokens] if len(value) == recorded_tokens else value
    raw = base64.b64decode(value)
    per_token = len(raw) == _FLOAT32_BYTES * recorded_tokens
    return base64.b64encode(raw[: _FLOAT32_BYTES * tokens]).decode() if per_token else value
