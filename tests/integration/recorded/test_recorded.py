"""The whole client over recorded exchanges with real vLLM servers, where nothing is declared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from reward_client import (
    ActivationError,
    NotARewardError,
    ProtocolError,
    RewardClientError,
    RouteNotFoundError,
    ShapeError,
)

from ...support.cells import Outcome, cell
from .recording import Recording, names
from .scoring import TOLERANCE, score, score_all

LAST_TOKEN = "scalar (last token, assumed)"

REWARDS = {
    "0.8.5-seqcls-raw": ("embeddings", None, "probe", "scalar"),
    "0.8.5-seqcls-noarchraw": ("embeddings", None, "probe", "scalar"),
    "0.8.5-token-reward": ("embeddings", None, "probe", LAST_TOKEN),
    "0.8.5-token-reward-embedlast": ("embeddings", None, "probe", "scalar"),
    "0.8.5-token-reward-rewardlast": ("embeddings", None, "probe", "scalar"),
    "0.9.2-seqcls-raw": ("pooling", None, "probe", "scalar"),
    "0.9.2-token-reward": ("pooling", None, "probe", LAST_TOKEN),
    "0.10.1.1-seqcls": ("classify", None, "request", "scalar"),
    "0.10.1.1-token-reward": ("pooling", None, "probe", LAST_TOKEN),
    "0.10.2-seqcls": ("classify", None, "request", "scalar"),
    "0.10.2-token-reward": ("pooling", None, "probe", LAST_TOKEN),
    "0.11.2-seqcls": ("pooling", "classify", "request", "scalar"),
    "0.11.2-token-reward": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.11.2-export": ("embeddings", None, "task", "scalar"),
    "0.11.2-internlm2": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.12.0-seqcls": ("pooling", "classify", "request", "scalar"),
    "0.12.0-token-reward": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.15.1-seqcls": ("pooling", "classify", "request", "scalar"),
    "0.15.1-token-reward": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.15.1-export": ("embeddings", None, "task", "scalar"),
    "0.15.1-internlm2": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.16.0-seqcls": ("pooling", "classify", "request", "scalar"),
    "0.16.0-token-reward": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.16.0-internlm2": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.16.0-export": ("embeddings", None, "task", "scalar"),
    "0.20.2-seqcls": ("pooling", "classify", "request", "scalar"),
    "0.20.2-token-reward": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.25.1-seqcls": ("pooling", "classify", "request", "scalar"),
    "0.25.1-token-reward": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.25.1-export": ("pooling", "embed", "request", "scalar"),
    "0.32.0-seqcls": ("pooling", "classify", "request", "scalar"),
    "0.32.0-seqcls-tokcls": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.32.0-token-reward": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.32.0-internlm2": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.32.0-export": ("pooling", "embed", "request", "scalar"),
    "0.33.0-seqcls": ("pooling", "classify", "request", "scalar"),
    "0.33.0-token-reward": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.33.0-internlm2": ("pooling", "token_classify", "request", LAST_TOKEN),
    "0.33.0-export": ("pooling", "embed", "request", "scalar"),
}

SOFTMAX_FLAG = """--override-pooler-config '{"softmax": false}'"""
SQUASHED = (ActivationError, SOFTMAX_FLAG)
HIDDEN_STATES = (NotARewardError, "head=LinearHead(")
# This version embeds on no route that gives rewards.
NO_ROUTE = (RouteNotFoundError, "No route of this server gives a reward")
FIVE_LABELS = (ShapeError, "head=ObjectiveHead(5)")
THREE_LABELS = (ShapeError, "head=ObjectiveHead(3)")
STEPS = (ShapeError, "head=StepHead(")

REFUSALS: dict[str, tuple[type[RewardClientError], str]] = {
    "0.8.5-seqcls": SQUASHED,
    "0.8.5-seqcls-noarch": SQUASHED,
    "0.8.5-seqcls5": FIVE_LABELS,
    "0.8.5-prm": STEPS,
    "0.8.5-causal-embed": HIDDEN_STATES,
    "0.8.5-causal-embed-raw": HIDDEN_STATES,
    "0.9.2-seqcls": SQUASHED,
    "0.9.2-seqcls5": FIVE_LABELS,
    "0.9.2-prm": STEPS,
    "0.9.2-causal-embed": HIDDEN_STATES,
    "0.9.2-causal-embed-raw": HIDDEN_STATES,
    "0.10.1.1-seqcls5": FIVE_LABELS,
    "0.10.1.1-prm": STEPS,
    "0.10.1.1-causal-embed": NO_ROUTE,
    "0.10.1.1-internlm2": SQUASHED,
    # Started so, it gives -0.12 instead of 3.19 for one of the conversations.
    "0.10.2-seqcls-nochunk": (ProtocolError, "--no-enable-chunked-prefill"),
    "0.10.2-seqcls5": FIVE_LABELS,
    "0.10.2-prm": STEPS,
    "0.10.2-causal-embed": HIDDEN_STATES,
    "0.10.2-causal-classify": THREE_LABELS,
    "0.11.2-seqcls5": FIVE_LABELS,
    "0.11.2-prm": STEPS,
    "0.11.2-causal-embed": HIDDEN_STATES,
    "0.12.0-seqcls5": FIVE_LABELS,
    "0.12.0-prm": STEPS,
    "0.12.0-causal-embed": HIDDEN_STATES,
    "0.12.0-causal-classify": THREE_LABELS,
    "0.15.1-seqcls5": FIVE_LABELS,
    "0.15.1-prm": STEPS,
    "0.15.1-causal-embed": HIDDEN_STATES,
    "0.16.0-seqcls5": FIVE_LABELS,
    "0.16.0-prm": STEPS,
    "0.16.0-causal-embed": HIDDEN_STATES,
    "0.20.2-seqcls5": FIVE_LABELS,
    "0.20.2-prm": STEPS,
    "0.20.2-causal-embed": HIDDEN_STATES,
    "0.20.2-causal-classify": THREE_LABELS,
    "0.25.1-seqcls5": FIVE_LABELS,
    "0.25.1-prm": STEPS,
    "0.25.1-causal-embed": HIDDEN_STATES,
    "0.32.0-seqcls5": FIVE_LABELS,
    "0.32.0-prm": STEPS,
    "0.32.0-causal-embed": HIDDEN_STATES,
    "0.32.0-causal-embed-raw": HIDDEN_STATES,
    "0.32.0-causal-classify": THREE_LABELS,
    "0.33.0-seqcls5": FIVE_LABELS,
    "0.33.0-prm": STEPS,
    "0.33.0-causal-embed": HIDDEN_STATES,
}

YES_MINUS_NO = "0.32.0-causal-yesno"


KINDS = {
    "seqcls": "one label",
    "token-reward": "each token",
    "internlm2": "each token",
    "export": "exported",
}


def served_as(kind: str) -> str:
    return next(KINDS[served] for served in KINDS if kind.startswith(served))


def rewards() -> Iterator[Any]:
    """The recordings that give a scalar reward, each with its cell of the table of versions."""
    for name, (route, *_) in REWARDS.items():
        version, _, kind = name.partition("-")
        outcome: Outcome = "raw, by the server's flag" if kind.endswith("raw") else "raw"
        yield pytest.param(name, id=name, marks=cell(version, served_as(kind), route, outcome))


def test_every_recording_is_used() -> None:
    assert sorted([*REWARDS, *REFUSALS, YES_MINUS_NO]) == names()


@pytest.mark.parametrize("name", list(rewards()))
def test_rewards_equal_the_reference(name: str) -> None:
    recording = Recording(name)
    rewards = score_all(recording)
    assert [reward.value for reward in rewards] == pytest.approx(recording.rewards, abs=TOLERANCE)
    assert [reward.token_count for reward in rewards] == list(map(len, recording.token_ids))
    provenance = rewards[0].provenance
    route, task, known_by, head = REWARDS[name]
    assert (provenance.route, provenance.activation_known_by, provenance.head) == (
        route,
        known_by,
        head,
    )
    assert provenance.activation == "none"
    assert recording.scored[-1]["json"].get("task") == task
    assert all(reward.provenance is provenance for reward in rewards)


@cell("0.32.0", "one label", "pooling", "raw")
def test_a_two_token_classifier_gives_the_difference_of_logits() -> None:
    recording = Recording(YES_MINUS_NO)
    rewards = score_all(recording)
    logits = [reference["logits"] for reference in recording.reference]
    expected = [each["Yes"] - each["No"] for each in logits]
    assert [reward.value for reward in rewards] == pytest.approx(expected, abs=TOLERANCE)


def refusals() -> Iterator[Any]:
    """All that must be refused; some are of a kind that this head reads elsewhere."""
    for name, refusal in REFUSALS.items():
        marks = []
        if refusal == SQUASHED:
            version, _, kind = name.partition("-")
            route = "embeddings" if version == "0.8.5" else "pooling"
            marks = [cell(version, served_as(kind), route, "error")]
        yield pytest.param(name, id=name, marks=marks)


@pytest.mark.parametrize("name", list(refusals()))
def test_what_is_no_scalar_reward_is_refused(name: str) -> None:
    kind, hint = REFUSALS[name]
    with pytest.raises(kind) as caught:
        score(Recording(name))
    assert hint in str(caught.value)


@cell("0.9.2", "one label", "pooling", "recovered")
def test_rewards_are_recovered_if_the_activation_is_named() -> None:
    recording = Recording("0.9.2-seqcls")
    rewards = score_all(recording, server_activation="sigmoid")
    assert [reward.value for reward in rewards] == pytest.approx(recording.rewards, abs=TOLERANCE)
    provenance = rewards[0].provenance
    assert (provenance.activation, provenance.activation_known_by) == ("sigmoid", "caller")


def test_the_template_that_writes_the_bos_gives_one_and_not_two() -> None:
    assert score(Recording("0.32.0-seqcls")).bos_count == 1


@pytest.mark.parametrize("name", ["0.8.5-seqcls-raw", "0.8.5-token-reward"])
def test_the_embeddings_request_equals_the_recorded_bytes(name: str) -> None:
    recording = Recording(name)
    score(recording)
    body = {
        "model": recording.data["card"]["id"],
        "input": [recording.token_ids[0]],
        "encoding_format": "base64",
    }
    assert recording.scored[-1]["content"] == orjson.dumps(body)
