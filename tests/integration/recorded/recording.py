"""Recorded exchanges with real vLLM servers, replayed below the client as an httpx transport.

Each file of `data/` holds what a live ``vllm serve`` of one version answered for one tiny model on
the CPU in float32; `data/models/` holds what is true of a model on every version: 13 conversations
with their token IDs (each server's ``/tokenize`` gave exactly these), the tokenizer, and the values
that transformers and torch give.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import httpx
from tokenizers import Tokenizer

from reward_client._server.template_look import QUESTION

DATA = Path(__file__).parent / "data"
ITEM_KEYS = {"/pooling": "data", "/v1/embeddings": "embedding", "/classify": "probs"}

STEP_TOKEN = "<extra_0>"
STEP_TOKEN_ID = 5
BOS_TOKEN_ID = 1


def names() -> list[str]:
    """All recordings: version and kind of serving."""
    return sorted(path.stem for path in DATA.glob("*.json"))


def switches(body: dict[str, Any]) -> dict[str, Any]:
    """What a request for pooled output says besides the model and the inputs."""
    return {key: value for key, value in body.items() if key not in ("model", "input")}


class _NotRecordedError(Exception):
    """Nobody knows what the real server would answer."""


@dataclass
class Recording:
    """One server of the recordings.

    A request is answered only if it asks in a way that was recorded, for conversations that were
    recorded with it; any other is refused and noted in `unrecorded`. Keys that a version ignores
    count as not known to it, so that a client that sends one is found out. Token lists of no
    conversation (the client's probes) get a value that was recorded for another, with as many rows
    as the server would give.
    """

    name: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    _places: dict[tuple[int, ...], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data: dict[str, Any] = _load(self.name)
        self._model: dict[str, Any] = _load(f"models/{self.data['model']}")
        self._tokenizer = _tokenizer(self._model["tokenizer"])

    @property
    def version(self) -> str:
        return str(self.data["version"])

    @property
    def kind(self) -> str:
        """The model, and how it was served."""
        return self.name.partition("-")[2]

    @property
    def reference(self) -> list[dict[str, Any]]:
        """What transformers and torch give for each conversation, all raw.

        ``reward`` (one number for each label), ``reward_double_bos`` (the same after a second BOS),
        ``token_rewards``, ``step_logits``, ``logits`` (by token), ``hidden`` (the last token's
        state before the head): those that the model has.
        """
        return list(self.by_name.values())

    @property
    def by_name(self) -> dict[str, dict[str, Any]]:
        """`reference` by the names of the conversations, which are those of the answers."""
        references: dict[str, dict[str, Any]] = self._model["conversations"]
        return references

    @property
    def conversations(self) -> list[list[dict[str, str]]]:
        return [reference["messages"] for reference in self.reference]

    @property
    def token_ids(self) -> list[list[int]]:
        return [reference["tokens"] for reference in self.reference]

    @property
    def rewards(self) -> list[float]:
        return [reference["reward"][-1] for reference in self.reference]

    @property
    def scored(self) -> list[dict[str, Any]]:
        """The requests for pooled output, in the order sent."""
        return [request for request in self.requests if request["path"] in ITEM_KEYS]

    def transport(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        # An exception here would come out of the client's depths, as if it were the client's.
        try:
            return self._reply_to(request)
        except _NotRecordedError as error:
            self.unrecorded.append(f"{request.method} {request.url.path}: {error}")
            return httpx.Response(418)

    def _reply_to(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "GET":
            return self._get(path)
        body = json.loads(request.content)
        self.requests.append({"path": path, "json": body, "content": request.content})
        if body["model"] != self.data["card"]["id"]:
            raise _NotRecordedError(f"model {body['model']}")
        if path == "/tokenize":
            return self._tokenize(body)
        if path not in self.data["paths"]:
            return httpx.Response(404, json={"detail": "Not Found"})
        if path == "/detokenize":
            return httpx.Response(200, json={"prompt": self.decode(body["tokens"])})
        return self._pool(path, body)

    def _get(self, path: str) -> httpx.Response:
        known: dict[str, Any] = {
            "/version": {"version": self.version},
            "/v1/models": {"object": "list", "data": [self.data["card"]]},
            "/openapi.json": {"paths": dict.fromkeys(self.data["paths"])},
        }
        if path not in known:
            raise _NotRecordedError("no such reply")
        return httpx.Response(200, json=known[path])

    def _tokenize(self, body: dict[str, Any]) -> httpx.Response:
        if QUESTION in [each["content"] for each in body.get("messages", ())]:
            return httpx.Response(400)  # the client looks at a template, which is not recorded
        if "messages" in body:
            tokens = self._chat_tokens(body)
        else:
            tokens = self.encode(body["prompt"], body.get("add_special_tokens", True))
        limit = self.data["card"]["max_model_len"]
        response = {"count": len(tokens), "max_model_len": limit, "tokens": tokens}
        return httpx.Response(200, json=response)

    def _chat_tokens(self, body: dict[str, Any]) -> list[int]:
        asked = {key: value for key, value in body.items() if key not in ("model", "messages")}
        if asked == {"add_generation_prompt": False, "continue_final_message": False}:
            for reference in self.reference:
                if reference["messages"] == body["messages"]:
                    tokens: list[int] = reference["tokens"]
                    return tokens
        raise _NotRecordedError(f"{body['messages']} with {asked}")

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        """The token IDs of a text, as the served tokenizer gives them."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token IDs, special tokens included."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    def _pool(self, path: str, body: dict[str, Any]) -> httpx.Response:
        inputs = body["input"]
        form = "text" if isinstance(inputs[0], str) else "ids"
        asked = {"encoding_format": "float", **switches(body)}
        for refusal in self.data["refusals"]:
            # Without a request it is that of a route or a handler that is not there at all.
            how = (refusal["path"], refusal["input"], refusal.get("request", asked))
            if (path, form, asked) == how:
                return _refused(refusal)
        encoding = asked.pop("encoding_format")
        for answer in self.data["answers"]:
            how = (answer["path"], answer["input"], answer["request"])
            if (path, form, asked) == how and encoding in answer["encodings"]:
                if form == "text":
                    bos = asked.get("add_special_tokens", True)
                    inputs = [self.encode(text, bos) for text in inputs]
                return httpx.Response(200, json=self._response(answer, inputs, encoding))
        raise _NotRecordedError(f"never asked like {asked} with {form}")

    def _response(
        self, answer: dict[str, Any], inputs: Sequence[list[int]], encoding: str
    ) -> dict[str, Any]:
        values = [self._value(answer, ids) for ids in inputs]
        key = ITEM_KEYS[answer["path"]]
        data = [
            {"index": index, key: _base64(value) if encoding == "base64" else value}
            for index, value in enumerate(values)
        ]
        if key == "probs":
            for item, value in zip(data, values, strict=True):
                top = max(range(len(value)), key=value.__getitem__)
                item.update(label=f"LABEL_{top}", num_classes=len(value))
        count = sum(map(len, inputs))
        usage = {"prompt_tokens": count, "total_tokens": count}
        return {**answer["envelope"], "data": data, "usage": usage}

    def _value(self, answer: dict[str, Any], ids: list[int]) -> Any:
        """What was recorded for these tokens; for tokens of no conversation always one like it."""
        values, doubled = answer["values"], answer.get("doubled_bos", {})
        for name, reference in self.by_name.items():
            for tokens, table in (
                (reference["tokens"], values),
                ([BOS_TOKEN_ID, *reference["tokens"]], doubled),
            ):
                if ids == tokens and name not in table:
                    raise _NotRecordedError(f"{name} was not asked like {answer['request']}")
                if ids == tokens:
                    return table[name]
        index = self._places.setdefault(tuple(ids), len(self._places))
        recorded = [*values.values(), *doubled.values()]
        rows = [row for value in recorded for row in value if isinstance(row, list)]
        steps = self.data["model"] == "prm"
        if not rows and not steps:
            turn, place = divmod(index, len(recorded))
            like = recorded[place]
            return like[turn:] + like[:turn]  # the same norm and sum, in another order
        count = ids.count(STEP_TOKEN_ID) if steps else len(ids)
        if count and not rows:
            raise _NotRecordedError(f"no step was asked like {answer['request']}")
        return list(islice(cycle(rows), index, index + count))


@cache
def _load(name: str) -> Any:
    return json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))


@cache
def _tokenizer(name: str) -> Tokenizer:
    return Tokenizer.from_file(str(DATA / "models" / f"{name}.tokenizer.json"))


def _refused(refusal: dict[str, Any]) -> httpx.Response:
    if "json" in refusal:
        return httpx.Response(refusal["status"], json=refusal["json"])
    return httpx.Response(refusal["status"], text=refusal["text"])


def _base64(value: list[Any]) -> str:
    """Little-endian float32, row after row."""
    flat = list(chain.from_iterable(value)) if value and isinstance(value[0], list) else value
    return base64.b64encode(struct.pack(f"<{len(flat)}f", *flat)).decode()
