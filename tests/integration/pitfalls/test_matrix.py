"""Every version that the test server stands for, every kind of head, every route, both clients.

What must come is written down here by hand, from what real servers answer: the raw value, one
recovered from what the server applied, or an error that names the cure. Never another number.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import pytest

from reward_client import (
    ActivationError,
    Conversation,
    LinearHead,
    ObjectiveHead,
    Reward,
    RewardClientError,
    RouteNotFoundError,
    StepHead,
)
from reward_client.testing import RewardServer

from ...support.cells import Outcome, cell
from ...support.either import OPENERS

# Two float32 computations of the same sums, the client's probabilities included.
TOLERANCE = 1e-4

VERSIONS = {
    "0.8": "0.8.5",
    "0.10": "0.10.2",
    "0.12": "0.12.0",
    "0.16": "0.16.0",
    "0.20": "0.20.2",
    "0.25": "0.25.1",
    "0.32": "0.32.0",
    "0.33": "0.33.0",
}
KINDS = {
    "sequence": "one label",
    "labels": "several labels",
    "token": "each token",
    "steps": "steps",
    "embed": "hidden states",
    "export": "exported",
    "export-steps": "exported steps",
}
ROUTES = ("auto", "embeddings", "pooling", "classify")

QUESTION = {"role": "user", "content": "What is 37 + 45?"}
ANSWERS = ("The answer is 82.", "The answer is 92.", "82")
STEPS = ["37 + 45 = 82.", "The answer is 82."]


@dataclass(frozen=True)
class Expected:
    """What a cell must give: the route that is taken, or the error."""

    route: str
    outcome: Outcome
    error: type[RewardClientError] | None = None
    hint: str = ""


def served(dialect: str, head: str, route: str, *, raw: bool) -> Expected:
    """What must come of one cell, from what real servers of that version were seen to do."""
    routes = SERVED[dialect].get(head, ())
    if route != "auto" and route not in routes:
        return Expected(route, "error", RouteNotFoundError, "that route= names")
    if not routes:
        return Expected("auto", "error", RewardClientError)
    taken = routes[0] if route == "auto" else route
    lost = LOST.get((dialect, head))
    if lost is not None and not raw:
        return Expected(taken, "error", ActivationError, lost)
    if raw:
        return Expected(taken, "raw, by the server's flag")
    squashed = head == "steps" and dialect in ("0.8", "0.10")
    return Expected(taken, "recovered" if squashed else "raw")


# The routes that give a reward of each head, that of route="auto" first.
_OLD = ("embeddings", "pooling")
_NEW: dict[str, tuple[str, ...]] = {
    "sequence": ("pooling", "classify"),
    "labels": ("pooling", "classify"),
    "token": ("pooling",),
    "steps": ("pooling",),
    "embed": ("embeddings", "pooling"),
    "export": ("embeddings",),
    "export-steps": ("pooling",),
}
SERVED: dict[str, dict[str, tuple[str, ...]]] = {
    "0.8": {
        "sequence": _OLD,
        "labels": _OLD,
        "token": _OLD,
        "steps": _OLD,
        "embed": ("embeddings",),
    },
    "0.10": {
        **_NEW,
        "sequence": ("classify",),
        "labels": ("classify",),
        "embed": ("embeddings",),
    },
    "0.12": {**_NEW, "sequence": ("pooling",), "labels": ("pooling",)},
    "0.16": {**_NEW, "embed": ("embeddings",)},
    "0.20": _NEW,
    "0.25": {**_NEW, "export": ("pooling", "embeddings")},
    "0.32": {**_NEW, "export": ("pooling", "embeddings")},
    "0.33": {**_NEW, "export": ("pooling", "embeddings")},
}
# What 0.8.5 applies to its values and cannot be asked to leave out, with the flag that cures it.
LOST = {
    ("0.8", "sequence"): '"softmax": false',
    ("0.8", "labels"): '"softmax": false',
    ("0.8", "embed"): '"normalize": false',
}


def cells() -> Iterator[Any]:
    for dialect, version in VERSIONS.items():
        for head, kind in KINDS.items():
            if dialect == "0.8" and head == "export":
                continue  # Dense modules are read from 0.10.2 on
            if head == "export-steps" and dialect in ("0.8", "0.10", "0.12"):
                continue  # and applied to each token from 0.16 on
            for route in ROUTES:
                for raw in (False, True):
                    squashed = head == "steps" and dialect in ("0.8", "0.10")
                    if raw and not squashed and (dialect, head) not in LOST:
                        continue  # the server's flag changes nothing
                    expected = served(dialect, head, route, raw=raw)
                    flag = "-flag" if raw else ""
                    yield pytest.param(
                        dialect,
                        head,
                        route,
                        raw,
                        expected,
                        id=f"{version}-{head}-{route}{flag}",
                        marks=cell(version, kind, expected.route, expected.outcome),
                    )


class Servers:
    """Test servers, each started when it is first needed."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, str, bool], RewardServer] = {}
        self.stack = ExitStack()

    def get(self, dialect: str, head: Any, *, raw: bool) -> RewardServer:
        key = dialect, head, raw
        if key not in self._running:
            server = RewardServer(dialect=dialect, head=head, raw=raw)
            self._running[key] = self.stack.enter_context(server)
        return self._running[key]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    servers = Servers()
    with servers.stack:
        yield servers


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(("dialect", "head", "route", "raw", "expected"), list(cells()))
def test_each_cell(
    servers: Servers, dialect: str, head: str, route: str, raw: bool, expected: Expected, kind: Any
) -> None:
    server = servers.get(dialect, head, raw=raw)
    options: dict[str, Any] = {"route": route, "head": client_head(server, head)}
    with closing(OPENERS[kind](server.url, **options)) as client:
        if expected.error is not None:
            with pytest.raises(expected.error) as caught:
                client.score(samples(head)[0])
            assert expected.hint in str(caught.value)
            return
        for sample in samples(head):
            ids = client.tokenize(sample).token_ids
            reward = client.score(sample)
            check(server, head, ids, reward, expected)
            assert reward.provenance.route == expected.route


def samples(head: str) -> list[Any]:
    if head in ("steps", "export-steps"):
        return [Conversation([QUESTION], steps=STEPS[:count]) for count in (1, 2)]
    return [[QUESTION, {"role": "assistant", "content": answer}] for answer in ANSWERS]


def client_head(server: RewardServer, head: str) -> Any:
    if head == "labels":
        return ObjectiveHead(5)
    if head in ("steps", "export-steps"):
        return StepHead(step_token=server.step_token, good_label=1, aggregate="min")
    if head == "embed":
        return LinearHead(linear_weight(len(server.reference_values([5, 6]).hidden)))
    return "auto"


def linear_weight(hidden: int) -> list[float]:
    """Weights of another head than the server's own."""
    return [math.sin(place + 1) for place in range(hidden)]


def check(
    server: RewardServer, head: str, ids: tuple[int, ...], reward: Reward, expected: Expected
) -> None:
    values = server.reference_values(ids)
    if head == "labels":
        assert list(reward.objectives.values()) == pytest.approx(values.labels, abs=TOLERANCE)
        with pytest.raises(TypeError, match="objectives"):
            float(reward)
    elif head in ("steps", "export-steps"):
        good = [1 / (1 + math.exp(bad - good)) for bad, good in values.steps]
        assert [step.value for step in reward.steps] == pytest.approx(good, abs=TOLERANCE)
        assert reward.value == pytest.approx(min(good), abs=TOLERANCE)
        for step, raw in zip(reward.steps, values.steps, strict=True):
            if expected.outcome == "recovered":
                assert step.logits is None
            else:
                assert step.logits == pytest.approx(raw, abs=TOLERANCE)
    elif head == "embed":
        weights = linear_weight(len(values.hidden))
        wanted = math.fsum(w * h for w, h in zip(weights, values.hidden, strict=True))
        assert reward.value == pytest.approx(wanted, abs=TOLERANCE)
    else:
        assert reward.value == pytest.approx(values.score, abs=TOLERANCE)
    recovered = reward.provenance.activation != "none"
    assert recovered == (expected.outcome == "recovered")
