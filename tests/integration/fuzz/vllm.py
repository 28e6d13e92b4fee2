"""A vLLM of any version below the client: it tells the truth, except where a plan damages a reply.

It is written from what real servers answer, and shares nothing with the client's own tables.
"""

from __future__ import annotations

import json
import math
import struct
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import httpx

from reward_client import Conversation, LinearHead, ObjectiveHead, StepHead

Kind: TypeAlias = Literal["scalar", "labels", "token", "steps", "states"]

MODEL, BOS, STEP, STEP_TEXT = "judge", 1, 5, "<step>"
PROMPT = "xyzzy: a very private question"
LABELS = 3
HIDDEN = 8
WEIGHT = [0.5, -1.0, 2.0, 0.25, -0.125, 1.5, 3.0, -2.0]
BIAS = 0.75

SCORING = ("/pooling", "/v1/embeddings", "/classify")
ITEM_KEY = {"/pooling": "data", "/v1/embeddings": "embedding", "/classify": "probs"}


@dataclass(frozen=True)
class Case:
    """A kind of model on a version, and the route that the client is told to take.

    Attributes:
        version: vLLM's, None for a server that hides it.
        kind: What is served.
        path: Where it answers.
        task: The pooling task that it wants to be asked for.
        text: Whether it takes texts only.
        softmax: Whether it gives probabilities, whatever it is asked.
        route: What the client is told.
    """

    version: str | None
    kind: Kind
    path: str
    task: str | None = None
    text: bool = False
    softmax: bool = False
    route: Literal["auto", "embeddings", "pooling", "classify"] = "auto"

    def __str__(self) -> str:
        return f"{self.version}-{self.kind}-{self.path.rpartition('/')[2]}"

    @cached_property
    def options(self) -> dict[str, Any]:
        """What a client of it is told."""
        heads = {
            "steps": StepHead(step_token=STEP_TEXT, good_label=1, aggregate="min"),
            "labels": ObjectiveHead(LABELS, {"label_0": 1.0, "label_2": -2.0}),
            "states": LinearHead(WEIGHT, BIAS),
        }
        return {"head": heads.get(self.kind, "auto"), "route": self.route}

    @property
    def sample(self) -> Any:
        turn = {"role": "user", "content": PROMPT}
        if self.kind == "steps":
            return Conversation([turn], steps=["one", "two and three"])
        return [turn, {"role": "assistant", "content": "Because."}]


def _cases() -> list[Case]:
    old: list[Case] = []
    for version in ("0.6.4", "0.8.5", "0.9.2"):
        path = "/pooling" if version == "0.9.2" else "/v1/embeddings"
        old += [Case(version, "scalar", path), Case(version, "token", path)]
        old += [Case(version, "labels", path), Case(version, "states", "/v1/embeddings")]
        if version != "0.6.4":
            old.append(Case(version, "steps", path, softmax=True))
    middle = [
        Case("0.10.2", "scalar", "/classify", text=True),
        Case("0.10.2", "labels", "/classify", text=True),
        Case("0.10.2", "token", "/pooling"),
        Case("0.10.2", "steps", "/pooling", softmax=True),
        Case("0.10.2", "states", "/v1/embeddings"),
    ]
    new: list[Case] = []
    for version in ("0.12.0", "0.20.2", "0.32.0", None, "0.99.0"):
        new += [
            Case(version, "scalar", "/pooling", "classify"),
            Case(version, "labels", "/pooling", "classify"),
            Case(version, "token", "/pooling", "token_classify"),
            Case(version, "steps", "/pooling", "token_classify"),
            Case(version, "states", "/v1/embeddings"),
        ]
    named = [
        Case("0.8.5", "scalar", "/pooling", route="pooling"),
        Case("0.32.0", "scalar", "/classify", route="classify"),
        Case("0.32.0", "states", "/pooling", "embed", route="pooling"),
    ]
    return [*old, *middle, *new, *named]


CASES = _cases()


def ids_of(text: str) -> list[int]:
    """The tokenizer: a token for each byte, and one for the step text."""
    ids: list[int] = []
    for place, piece in enumerate(text.split(STEP_TEXT)):
        ids += [STEP] * (place > 0) + [10 + byte for byte in piece.encode()]
    return ids


def text_of(ids: Sequence[int]) -> str:
    """The other way."""
    data = b"".join(
        STEP_TEXT.encode() if token == STEP else bytes([(token - 10) % 256]) for token in ids
    )
    return data.decode("utf-8", "replace")


def chat_ids(messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """The chat template, tokenized."""
    return [BOS, *ids_of("".join(f"{turn['role']}: {turn.get('content')}\n" for turn in messages))]


def raw(ids: Sequence[int], column: int = 0) -> float:
    """The model: a number that float32 holds exactly, and that every token and place changes."""
    mixed = sum((place + 1) * token for place, token in enumerate(ids)) * (2 * column + 3)
    return (mixed % 191 - 95) / 8


def softmax(row: Sequence[float]) -> list[float]:
    exponentials = [math.exp(value - max(row)) for value in row]
    return [value / sum(exponentials) for value in exponentials]


def rows_of(case: Case, ids: Sequence[int]) -> list[list[float]]:
    """The pooled output for token IDs, row by row."""
    if case.kind == "token":
        return [[raw(ids[: place + 1])] for place in range(len(ids))]
    if case.kind == "steps":
        ends = [place + 1 for place, token in enumerate(ids) if token == STEP]
        rows = [[raw(ids[:end], column) for column in range(2)] for end in ends]
        return [softmax(row) for row in rows] if case.softmax else rows
    width = {"scalar": 1, "labels": LABELS, "states": HIDDEN}[case.kind]
    return [[raw(ids, column) for column in range(width)]]


def squashed(row: Sequence[float]) -> list[float]:
    """What becomes of a row that nobody asked to have raw."""
    return [1 / (1 + math.exp(-row[0]))] if len(row) == 1 else softmax(row)


def pooled(case: Case, path: str, ids: Sequence[int], *, squash: bool) -> Any:
    """The same as it goes over a route."""
    rows = rows_of(case, ids)
    if squash:
        rows = [squashed(row) for row in rows]
    if path == "/v1/embeddings":
        flat = [value for row in rows for value in row]
        return b64encode(struct.pack(f"<{len(flat)}f", *flat)).decode()
    return rows if case.kind in ("token", "steps") else rows[0]


@dataclass
class Exchange:
    """One request, and what it was answered."""

    path: str
    asked: Any
    response: httpx.Response
    body: bytes


Damage: TypeAlias = Callable[[str, int, Any], httpx.Response | None]
"""From the path, how often it was asked before, and the true reply, to another reply."""


@dataclass
class Vllm:
    """The server of a case; `exchanges` is what was asked and answered."""

    case: Case
    damage: Damage = lambda path, times, payload: None
    limit: int | None = 1024
    exchanges: list[Exchange] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)

    def transport(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        asked = json.loads(request.content) if request.content else None
        status, payload = self.true_reply(path, asked)
        times = Counter(exchange.path for exchange in self.exchanges)[path]
        other = self.damage(path, times, payload) if status == 200 else None
        if other is not None:
            self.damaged.add(path)
        body = json.dumps(payload).encode() if other is None else other.extensions["body"]
        response = other or httpx.Response(status, content=body)
        self.exchanges.append(Exchange(path, asked, response, body))
        return response

    def true_reply(self, path: str, asked: Any) -> tuple[int, Any]:
        match path:
            case "/v1/models":
                card = {"id": MODEL, "object": "model", "owned_by": "vllm", "root": "/models/judge"}
                card |= {"parent": None, "max_model_len": self.limit}
                return 200, {"object": "list", "data": [card]}
            case "/version" if self.case.version is not None:
                return 200, {"version": self.case.version}
            case "/openapi.json":
                paths = ["/tokenize", "/detokenize", "/version", *SCORING]
                return 200, {"paths": {name: {"post": {}} for name in paths}}
            case "/tokenize":
                return 200, self._tokenized(asked)
            case "/detokenize":
                return 200, {"prompt": text_of(asked["tokens"])}
            case _ if path in SCORING:
                return self._scored(path, asked)
        return 404, {"detail": "Not Found"}

    def _tokenized(self, asked: Any) -> dict[str, Any]:
        if "messages" in asked:
            ids = chat_ids(asked["messages"])
        else:
            ids = [BOS] * asked["add_special_tokens"] + ids_of(asked["prompt"])
        return {"count": len(ids), "max_model_len": self.limit, "tokens": ids}

    def _scored(self, path: str, asked: Any) -> tuple[int, Any]:
        texts = isinstance(asked["input"][0], str)
        if path != self.case.path or asked.get("task") != self.case.task:
            return self._refusal("Unsupported task")
        if texts != self.case.text:
            return self._refusal("Input should be a valid string")
        inputs = [[BOS, *ids_of(text)] for text in asked["input"]] if texts else asked["input"]
        count = sum(map(len, inputs))
        switches = {value for value in asked.values() if isinstance(value, bool)}
        values = [pooled(self.case, path, ids, squash=True in switches) for ids in inputs]
        data = [
            {"index": index, "object": "pooling", ITEM_KEY[path]: value}
            for index, value in enumerate(values)
        ]
        envelope = {"id": "pool-1", "object": "list", "created": 1700000000, "model": MODEL}
        usage = {"prompt_tokens": count, "total_tokens": count, "completion_tokens": 0}
        return 200, {**envelope, "data": data, "usage": usage}

    def _refusal(self, message: str) -> tuple[int, Any]:
        said = {"message": message, "type": "BadRequestError", "param": None, "code": 400}
        if self.case.version in ("0.6.4", "0.8.5", "0.9.2"):
            return 400, {"object": "error", **said}
        return 400, {"error": said}
