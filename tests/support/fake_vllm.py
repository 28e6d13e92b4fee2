"""The stand-in in memory: a vLLM that answers as a test scripts it, without a socket.

`FakeVllm` has fixed token IDs for every prompt, and `TextVllm` a tokenizer. Tests change answers by
`before` and `after`, or override a method. The answers share nothing with the client's own tables.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
CHAT_TOKENS = [1, 10, 11, 12]
BOS, STEP, TOOLS, YES, NO = 1, 5, 9, 200_001, 200_002
STEP_TEXT = "<step>"
ITEM_KEY = {"/pooling": "data", "/v1/embeddings": "embedding", "/classify": "probs"}
EMBEDDINGS_ONLY = ["/tokenize", "/detokenize", "/v1/embeddings", "/v1/models"]
NESTED_404 = (404, {"detail": "Not Found"})
_PROBE = list(range(20, 60))
_SHORT = 60
_VARIANT = re.compile(r"([0-9a-f]{8})'|'([0-9a-f]{8})")
_SWITCHES = ("use_activation", "activation", "softmax", "normalize")
_FLAT_ERRORS = ("0.6.", "0.8.", "0.9.")  # later versions put an error under "error"

Answer = tuple[int, Any]
"""A status and a JSON body."""


def card(
    name: str, *, root: str | None = "root", parent: str | None = None, limit: int | None = 1024
) -> dict[str, Any]:
    named = {"id": name, "object": "model", "owned_by": "vllm", "root": root}
    return {**named, "parent": parent, "max_model_len": limit}


def by_length(ids: list[int]) -> list[float]:
    """A raw reward that differs from input to input, on both sides of [0, 1]."""
    return [len(ids) - 5.5]


@dataclass
class FakeVllm:
    """A server of one model.

    Attributes:
        cards: The models that it lists.
        paths: The paths that it lists; None hides the list.
        serves: The paths that it answers, besides those that every server has.
        pool: From token IDs to the pooled output.
        tasks: The pooling tasks that `/pooling` accepts.
        takes_text: It pools texts instead of token IDs.
        heeds_switch: It applies an activation to the pooled output if the request says so.
        chat_tokens: The token IDs of every conversation.
        probe: The token IDs of every long text, without BOS; those of short ones tell their length.
        tokens: The texts that are one token, with its ID.
        before: Answers first, unless it returns None.
        after: Changes the body of a true answer.
        requests: The paths and bodies so far.
    """

    version: Any = "0.32.0"
    cards: list[dict[str, Any]] = field(default_factory=lambda: [card("judge")])
    paths: list[str] | None = field(
        default_factory=lambda: ["/tokenize", "/pooling", "/classify", "/v1/models"]
    )
    serves: tuple[str, ...] = ("/pooling",)
    pool: Callable[[list[int]], Any] = by_length
    tasks: tuple[str | None, ...] = ("classify",)
    takes_text: bool = False
    heeds_switch: bool = True
    response_model: str | None = None
    chat_tokens: list[int] = field(default_factory=lambda: CHAT_TOKENS)
    probe: list[int] = field(default_factory=lambda: _PROBE)
    tokens: dict[str, int] = field(default_factory=dict[str, int])
    before: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
    after: Callable[[httpx.Request, Any], object] = lambda request, payload: None
    requests: list[tuple[str, Any]] = field(default_factory=list)

    def transport(self) -> httpx.AsyncBaseTransport:
        return transport_to({"": self})

    def asked(self, path: str) -> list[Any]:
        return [body for asked, body in self.requests if asked == path]

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content or b"null")
        if is_look(body):
            return httpx.Response(400, json={})  # its conversations have no template to look at
        self.requests.append((path, body))
        early = self.before(request)
        if early is not None:
            return early
        status, payload = self.true_answer(path, body)
        self.after(request, payload)
        return httpx.Response(status, json=payload)

    def true_answer(self, path: str, body: Any) -> Answer:
        match path:
            case "/version" if self.version:
                return 200, {"version": self.version}
            case "/v1/models":
                return 200, {"object": "list", "data": self.cards}
            case "/openapi.json" if self.paths is not None:
                return 200, {"paths": {each: {"post": {}} for each in self.paths}}
            case "/tokenize":
                ids, limit = self.ids(body), self.cards[0]["max_model_len"]
                return 200, {"count": len(ids), "max_model_len": limit, "tokens": ids}
            case "/detokenize" if path in self.serves:
                return 200, {"prompt": self.text(body["tokens"])}
            case _ if path in self.serves:
                return self.pooled(path, body)
        return NESTED_404

    def ids(self, body: Mapping[str, Any]) -> list[int]:
        """Tokenize the messages or the prompt of a request."""
        if "messages" in body:
            # The client changes the start or the end of a text to get other tokens.
            changed = _VARIANT.search(str(body["messages"]))
            other = [int(changed[1] or changed[2], 16)] if changed else []
            return [*self.chat_tokens, *([TOOLS] if body.get("tools") else []), *other]
        if body["prompt"] in self.tokens:
            return [BOS] * body["add_special_tokens"] + [self.tokens[body["prompt"]]]
        bare = self.probe if len(body["prompt"]) > _SHORT else [100 + len(body["prompt"])]
        return [BOS] * body["add_special_tokens"] + bare

    def text(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))

    def pooled(self, path: str, body: Any) -> Answer:
        if path == "/pooling" and body.get("task") not in self.tasks:
            return self.error(f"Unsupported task: {body.get('task')!r}")
        if body["model"] not in {each["id"] for each in self.cards}:
            return self.error(f"The model `{body['model']}` does not exist.", 404, "NotFoundError")
        inputs = body["input"] if "input" in body else [self.ids(body)]
        if isinstance(inputs[0], str) != self.takes_text:
            return self.error("Input should be a valid string")
        if self.takes_text:
            inputs = [self.ids({"prompt": text, "add_special_tokens": True}) for text in inputs]
        values = [self.pool(ids) for ids in inputs]
        if self.heeds_switch and any(body.get(switch) is True for switch in _SWITCHES):
            values = list(map(squashed, values))
        if path == "/v1/embeddings" and body["encoding_format"] == "base64":
            values = list(map(packed, values))
        return 200, self.envelope("data", ITEM_KEY[path], values, inputs)

    def envelope(
        self, items: str, item: str, values: list[Any], inputs: list[list[int]]
    ) -> dict[str, Any]:
        """Wrap a value for each input as vLLM does."""
        count = sum(map(len, inputs))
        return {
            "id": f"pool-{len(self.requests)}",
            "object": "list",
            "created": 1700000000,
            "model": self.response_model or self.cards[0]["id"],
            items: [
                {"index": index, "object": "pooling", item: value}
                for index, value in enumerate(values)
            ],
            "usage": {"prompt_tokens": count, "total_tokens": count, "completion_tokens": 0},
        }

    def error(self, message: str, status: int = 400, kind: str = "BadRequestError") -> Answer:
        said = {"message": message, "type": kind, "param": None, "code": status}
        flat = str(self.version).startswith(_FLAT_ERRORS)
        return status, {"object": "error", **said} if flat else {"error": said}


def is_look(body: Any) -> bool:
    """Whether the client looks at the chat template with this conversation of its own."""
    messages = (body.get("messages") if isinstance(body, dict) else None) or ()
    return {"role": "user", "content": "What is 17 + 25?"} in messages


def transport_to(servers: Mapping[str, FakeVllm]) -> httpx.AsyncBaseTransport:
    """Return a transport to servers by host name; the name "" stands for any other."""

    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0)  # as a network would, it lets others run
        server = servers[request.url.host if request.url.host in servers else ""]
        return server.answer(request)

    return httpx.MockTransport(answer)


def softmax(row: Sequence[float]) -> list[float]:
    exponentials = [math.exp(value - max(row)) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def squashed(values: Any) -> Any:
    """Apply vLLM's activation to a row or to each row: sigmoid to one number, softmax to more."""
    if isinstance(values[0], list):
        return [squashed(row) for row in values]
    return [1 / (1 + math.exp(-values[0]))] if len(values) == 1 else softmax(values)


def packed(values: Any) -> str:
    """Encode a row, or rows one after the other, as base64 of float32."""
    rows = values if isinstance(values[0], list) else [values]
    return base64.b64encode(b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows)).decode()


@dataclass
class EmbeddingVllm(FakeVllm):
    """A server that also gives its pooled output as embeddings, and texts of token IDs."""

    serves: tuple[str, ...] = ("/pooling", "/v1/embeddings", "/detokenize")


def embedding_server(**options: Any) -> EmbeddingVllm:
    """Return a server that has no other route to pooled output."""
    return EmbeddingVllm(paths=EMBEDDINGS_ONLY, **options)


# Texts


def ids_of(text: str) -> list[int]:
    """Tokenize: one token for each character, and one for each of three words."""
    if text in ("Yes", "No"):
        return [YES if text == "Yes" else NO]
    pieces = re.findall(f"{STEP_TEXT}|.", text, re.DOTALL)
    return [STEP if piece == STEP_TEXT else 10 + ord(piece) for piece in pieces]


def text_of(ids: Sequence[int]) -> str:
    """Detokenize; an ID that is no character's becomes U+FFFD."""
    return "".join(STEP_TEXT if token == STEP else _character(token - 10) for token in ids)


def _character(code: int) -> str:
    is_surrogate = 0xD800 <= code < 0xE000
    return chr(code) if 0 <= code < 0x110000 and not is_surrogate else "\ufffd"


def rendered(
    messages: Sequence[Mapping[str, Any]], *, opened: bool = False, ended: bool = True
) -> str:
    """Apply the chat template."""
    text = "".join(f"<{turn['role']}>{_content(turn.get('content'))}</>" for turn in messages)
    return (text if ended else text.removesuffix("</>")) + "<assistant>" * opened


def _content(content: Any) -> str:
    """An image becomes as many tokens as its address has characters."""
    if not isinstance(content, list):
        return str(content).strip()
    return "".join(part.get("text") or part.get("image_url", {}).get("url", "") for part in content)


@dataclass
class TextVllm(FakeVllm):
    """A server with a tokenizer and a chat template."""

    bos: bool = True

    def ids(self, body: Mapping[str, Any]) -> list[int]:
        if "prompt" in body:
            return [BOS] * (self.bos and body["add_special_tokens"]) + ids_of(body["prompt"])
        opened = body.get("add_generation_prompt", False)
        ended = not body.get("continue_final_message")
        text = rendered(body["messages"], opened=opened, ended=ended)
        return [BOS] * self.bos + ids_of(text)

    def text(self, ids: list[int]) -> str:
        return text_of(ids)
