"""A vLLM of any version in memory: it tells the truth, except where a plan damages a reply."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import httpx

from reward_client import Conversation, LinearHead, ObjectiveHead, StepHead

from ...support.fake_vllm import ITEM_KEY, STEP, STEP_TEXT, Answer, TextVllm, card, softmax

Kind: TypeAlias = Literal["scalar", "labels", "token", "steps", "states"]

PROMPT = "xyzzy: a very private question"
LABELS = 3
HIDDEN = 8
WEIGHT = [0.5, -1.0, 2.0, 0.25, -0.125, 1.5, 3.0, -2.0]
BIAS = 0.75

SCORING = tuple(ITEM_KEY)


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


def raw(ids: Sequence[int], column: int = 0) -> float:
    """The model: a number that float32 holds exactly, and that every token and place changes."""
    mixed = sum((place + 1) * token for place, token in enumerate(ids)) * (2 * column + 3)
    return (mixed % 191 - 95) / 8


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


def pooled(case: Case, ids: Sequence[int]) -> Any:
    """The pooled output for token IDs, as it goes over a route."""
    rows = rows_of(case, ids)
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


class Vllm(TextVllm):
    """The server of a case; `exchanges` holds the requests and the answers."""

    def __init__(
        self,
        case: Case,
        damage: Damage = lambda path, times, payload: None,
        limit: int | None = 1024,
    ) -> None:
        super().__init__(
            version=case.version,
            cards=[card("judge", root="/models/judge", limit=limit)],
            paths=["/tokenize", "/detokenize", "/version", *SCORING],
            serves=("/detokenize", *SCORING),
            tasks=(case.task,),
            takes_text=case.text,
            pool=lambda ids: pooled(case, ids),
        )
        self.case, self.damage = case, damage
        self.exchanges: list[Exchange] = []
        self.damaged: set[str] = set()

    def answer(self, request: httpx.Request) -> httpx.Response:
        times, noted = len(self.asked(request.url.path)), len(self.requests)
        response = super().answer(request)
        if len(self.requests) == noted:
            return response  # the look at the template
        path, asked = self.requests[-1]
        other = self.damage(path, times, response.json()) if response.is_success else None
        if other is not None:
            self.damaged.add(path)
        body = response.content if other is None else other.extensions["body"]
        self.exchanges.append(Exchange(path, asked, other or response, body))
        return other or response

    def pooled(self, path: str, body: Any) -> Answer:
        if path != self.case.path:
            return self.error("Unsupported task")
        return super().pooled(path, body)
