"""Samples that are scored again at a proof, and what counts as another value."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, cast

import pytest

from reward_client._base.results import StepReward
from reward_client._base.token_ids import TokenIds
from reward_client._server.agreement import may_be_same, ranges_of
from reward_client._server.memory import Memory
from reward_client._server.state import ServerState
from reward_client._tokenization import Tokenized
from reward_client.errors import BadRequestError
from reward_client.heads import Scores


class State:
    """What agreement reads of a state: probes and a provenance."""

    def __init__(self, *values: float) -> None:
        self.outputs = self.probes = values
        self.provenance = State

    head = "scalar"

    def read(self, output: float, _: float) -> Scores:
        return Scores(output)


def state(*values: float) -> ServerState:
    return cast("ServerState", State(*values))


def step(value: float) -> StepReward:
    return StepReward(value=value, logits=None, start=0, end=1)


def sample(place: int, length: int = 3) -> Tokenized:
    return Tokenized(TokenIds.of([place] * length), 0, None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Scores(0.3), Scores(0.4), True),
        (Scores(0.3), Scores(1.0), False),
        (Scores(50.0), Scores(50.9), True),
        (Scores(None, (), {"a": 0.3}), Scores(None, (), {"a": 0.31}), True),
        (Scores(None, (), {"a": 0.3}), Scores(None, (), {"a": 0.4}), False),
        (Scores(0.3, (step(0.2), step(0.9))), Scores(0.3, (step(0.2), step(0.7))), False),
        (Scores(0.3, (step(0.2),)), Scores(0.3, (step(0.2), step(0.2))), False),
    ],
)
def test_another_value_than_rounding_explains(one: Scores, other: Scores, same: bool) -> None:
    many = [Scores(-5.0), Scores(5.0), one]
    server = state(1.0)
    assert may_be_same(server, one, other, ranges_of(server, many)) is same


def test_samples_of_nearly_equal_rewards_are_rounded_no_less() -> None:
    """The range of the probes is that of the model."""
    server = state(-3.0, 4.0)
    assert may_be_same(server, Scores(0.3), Scores(0.4), ranges_of(server, [Scores(0.3)]))


def remembered(memory: Memory, server: ServerState) -> list[int]:
    return [each.sample.ids[0] for each in cast("Any", memory.take(server))]


def test_each_sample_of_a_stretch_may_be_remembered() -> None:
    server, memory, found = state(), Memory(), set[int]()
    for _ in range(300):
        for start in range(0, 32, 8):
            samples = [sample(start + place) for place in range(8)]
            memory.note(server, samples, [Scores(1.0)] * 8, 24)
        kept = remembered(memory, server)
        assert 1 <= len(kept) <= 4
        assert len({*kept}) == len(kept)
        found.update(kept)
    assert found == {*range(32)}
    assert remembered(memory, server) == []


def test_only_samples_of_the_same_server_with_scores() -> None:
    server, memory = state(), Memory()
    memory.note(server, [sample(1), sample(2)], [BadRequestError("no", status=400), Scores(1.0)], 6)
    assert remembered(memory, server) == [2]
    memory.note(server, [sample(1)], [BadRequestError("no", status=400)], 3)
    assert remembered(memory, server) == []
    memory.note(server, [sample(1)], [Scores(1.0)], 3)
    assert remembered(memory, state()) == []


def test_few_tokens_are_scored_again() -> None:
    server, memory = state(), Memory()
    for place in range(20):
        memory.note(server, [sample(place, 3000 + place)], [Scores(1.0)], 3000 + place)
    kept = memory.take(server)
    assert len(kept) == 1
    for place in range(200):
        memory.note(server, [sample(place, 3000 + place)], [Scores(1.0)], 3000 + place)
    kept = memory.take(server)
    assert len(kept) > 2
    assert all(one.sample.size <= other.sample.size for one, other in pairwise(kept))
