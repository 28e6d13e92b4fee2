"""Heads held by the client, over recorded exchanges with servers that only embed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from reward_client import ActivationError, LinearHead, ShapeError

from ...support.cells import Outcome, cell
from .recording import Recording, switches
from .scoring import TOLERANCE, score, score_all

KIND = "hidden states"
HIDDEN = 128
# Both signs and no two alike, so that a state in another order gives another number.
WEIGHT = [math.sin(1 + index) / 4 for index in range(HIDDEN)]

# How each server gives states that are not normalized, and how that is known. On 0.10.2
# and 0.12.0 the switch was recorded with the first conversation only.
EVERY = {
    "0.8.5-causal-embed-raw": ({}, "probe"),
    "0.9.2-causal-embed-raw": ({}, "probe"),
    "0.10.1.1-causal-embed": ({"normalize": False}, "request"),
    "0.11.2-causal-embed": ({"normalize": False}, "request"),
    "0.15.1-causal-embed": ({"normalize": False}, "request"),
    "0.16.0-causal-embed": ({"use_activation": False}, "request"),
    "0.20.2-causal-embed": ({"use_activation": False}, "request"),
    "0.25.1-causal-embed": ({"use_activation": False}, "request"),
    "0.32.0-causal-embed": ({"use_activation": False}, "request"),
    "0.32.0-causal-embed-raw": ({"use_activation": False}, "request"),
    "0.33.0-causal-embed": ({"use_activation": False}, "request"),
}
FIRST = {
    "0.10.2-causal-embed": ({"normalize": False}, "request"),
    "0.12.0-causal-embed": ({"normalize": False}, "request"),
}


def dot(weight: list[float], state: list[float]) -> float:
    return math.fsum(a * b for a, b in zip(weight, state, strict=True))


def servings() -> Iterator[Any]:
    """Every recording with raw states, with its cell of the table of versions."""
    for name in EVERY | FIRST:
        version = name.partition("-")[0]
        outcome: Outcome = "raw, by the server's flag" if name.endswith("raw") else "raw"
        yield pytest.param(name, id=name, marks=cell(version, KIND, "embeddings", outcome))


@pytest.mark.parametrize("name", list(servings()))
def test_the_reward_is_the_weight_times_the_raw_state(name: str) -> None:
    recording = Recording(name)
    head = LinearHead(WEIGHT)
    rewards = score_all(recording, head=head) if name in EVERY else [score(recording, head=head)]
    states = [reference["hidden"] for reference in recording.reference][: len(rewards)]
    expected = [dot(WEIGHT, state) for state in states]
    assert [reward.value for reward in rewards] == pytest.approx(expected, abs=TOLERANCE)
    asked, known_by = (EVERY | FIRST)[name]
    provenance = rewards[0].provenance
    assert (provenance.route, provenance.activation) == ("embeddings", "none")
    assert provenance.activation_known_by == known_by
    assert switches(recording.scored[-1]["json"]) == {"encoding_format": "base64", **asked}


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(version, marks=cell(version, KIND, "pooling", "raw"))
        for version in ("0.11.2", "0.20.2", "0.25.1", "0.32.0", "0.33.0")
    ],
)
def test_the_pooling_route_gives_the_same(version: str) -> None:
    recording = Recording(f"{version}-causal-embed")
    reward = score(recording, head=LinearHead(WEIGHT), route="pooling")
    expected = dot(WEIGHT, recording.reference[0]["hidden"])
    assert reward.value == pytest.approx(expected, abs=TOLERANCE)
    assert reward.provenance.route == "pooling"


def test_several_outputs_and_a_bias() -> None:
    recording = Recording("0.32.0-causal-embed")
    rows = [WEIGHT, WEIGHT[::-1]]
    reward = score(recording, head=LinearHead(rows, [0.25, -3.0]))
    state = recording.reference[0]["hidden"]
    expected = [dot(rows[0], state) + 0.25, dot(rows[1], state) - 3]
    assert list(reward.objectives.values()) == pytest.approx(expected, abs=TOLERANCE)
    with pytest.raises(TypeError):
        float(reward)


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(version, marks=cell(version, KIND, "embeddings", "error"))
        for version in ("0.8.5", "0.9.2")
    ],
)
def test_normalized_states_are_refused_if_no_switch_exists(version: str) -> None:
    with pytest.raises(ActivationError) as caught:
        score(Recording(f"{version}-causal-embed"), head=LinearHead(WEIGHT))
    assert """--override-pooler-config '{"normalize": false}'""" in str(caught.value)


@pytest.mark.parametrize("width", [HIDDEN - 1, HIDDEN + 1])
def test_a_weight_of_another_width_is_refused(width: int) -> None:
    with pytest.raises(ShapeError, match="128"):
        score(Recording("0.32.0-causal-embed"), head=LinearHead([0.5] * width))
