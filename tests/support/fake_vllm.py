"""The stand-in in memory: a vLLM that answers as a test scripts it, without a socket.

`FakeVllm` has fixed token IDs for every prompt, `TextVllm` a tokenizer; `Scribe` also writes.
Their answers follow real servers, and share nothing with the client's own tables.
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
BOS, STEP, YES, NO = 1, 5, 200_001, 200_002
STEP_TEXT = "<step>"
ITEM_KEY = {"/pooling": "data", "/v1/embeddings": "embedding", "/classify": "probs"}
EMBEDDINGS_ONLY = ["/tokenize", "/detokenize", "/v1/embeddings", "/v1/models"]
ROOM = 4096
NESTED_404 = (404, {"detail": "Not Found"})
_PROBE = list(range(20, 60))
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
        probe: The token IDs of every text, without BOS.
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
    before: Callable[[httpx.Request], httpx.Response | None] = lambda request: None
    after: Callable[[httpx.Request, Any], object] = lambda request, payload: None
    requests: list[tuple[str, Any]] = field(default_factory=list)

    def transport(self) -> httpx.AsyncBaseTransport:
        return transport_to({"": self})

    def asked(self, path: str) -> list[Any]:
        return [body for asked, body in self.requests if asked == path]

    def answer(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content or b"null")
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
            return self.chat_tokens
        return [BOS] * body["add_special_tokens"] + self.probe

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
            "id": "pool-1",
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
    codes = (token - 10 for token in ids)
    return "".join(
        STEP_TEXT if code == STEP - 10 else chr(code) if 0 <= code < 0xD800 else "\ufffd"
        for code in codes
    )


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
        text, special = body.get("prompt"), True
        if text is None:
            opened = body.get("add_generation_prompt", False)
            ended = not body.get("continue_final_message")
            text = rendered(body["messages"], opened=opened, ended=ended)
        else:
            special = body["add_special_tokens"]
        return [BOS] * (self.bos and special) + ids_of(text)

    def text(self, ids: list[int]) -> str:
        return text_of(ids)


def no_text(prompt: str, seed: int) -> str:
    raise AssertionError(f"Nothing was to be written after {prompt!r}.")


class Scribe(TextVllm):
    """A server whose texts and numbers follow from the text of the prompt.

    Args:
        writes: From a prompt and a seed to the text; `max_tokens` cuts it.
        pools: From a prompt to the pooled value; None makes it a server that generates.
        logits: The logit of each of the two words after a prompt.
        tells: ``"named"`` tells the numbers of the tokens that are named (0.26 and later);
            ``"likeliest"`` those of the likeliest 20, which hold neither word, and of the one that
            is written; ``"allowed"`` those of the allowed tokens.
        ending: The reason why its texts end.
        sure: The number of the likeliest token.
    """

    def __init__(
        self,
        writes: Callable[[str, int], str] = no_text,
        *,
        pools: Callable[[str], float] | None = None,
        logits: Callable[[str], tuple[float, float]] = lambda text: (len(text) / 10, -1.5),
        tells: str = "named",
        root: str = "root",
        ending: str = "stop",
        sure: float = 3.0,
        **options: Any,
    ) -> None:
        cards = [card("scribe", root=root, limit=ROOM)]
        super().__init__(cards=cards, paths=None, bos=False, **options)
        self.writes, self.pools, self.logits = writes, pools, logits
        self.tells, self.ending, self.sure = tells, ending, sure

    def true_answer(self, path: str, body: Any) -> Answer:
        if self.pools is not None:
            self.pool = lambda ids: [self.pools(text_of(ids))]
        elif path == "/v1/completions":
            return 200, self._numbered(body) if "logprobs" in body else self._written(body)
        elif path == "/pooling":
            return NESTED_404
        return super().true_answer(path, body)

    def _written(self, body: Any) -> dict[str, Any]:
        ids = body["prompt"]
        text = self.writes(text_of(ids), body["seed"])
        is_cut = len(text) >= body["max_tokens"]
        text = text[: body["max_tokens"]]
        choice = {"index": 0, "text": text, "finish_reason": "length" if is_cut else self.ending}
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(text) + (not is_cut)}
        return {"model": "scribe", "choices": [choice], "usage": usage}

    def _numbered(self, body: Any) -> dict[str, Any]:
        values = [self._numbers(text_of(ids), body) for ids in body["prompt"]]
        return self.envelope("choices", "logprobs", values, body["prompt"])

    def _numbers(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
        logits = dict(zip((YES, NO), self.logits(text), strict=True))
        allowed = body.get("allowed_token_ids", [])
        named = body.get("logprob_token_ids", []) if self.tells == "named" else []
        told = {f"token_id:{token}": self.sure for token in range(20)}
        written = max(allowed, key=logits.__getitem__, default=0)
        if allowed:
            told[f"token_id:{written}"] = logits[written]
        if self.tells == "allowed":
            told = {f"token_id:{token}": logits[token] for token in allowed}
        told |= {f"token_id:{token}": logits[token] for token in named}
        name = f"token_id:{written}"
        number = told.setdefault(name, self.sure)
        return {"tokens": [name], "token_logprobs": [number], "top_logprobs": [told]}
