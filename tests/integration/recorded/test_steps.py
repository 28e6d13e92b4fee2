"""Process reward models, over recorded exchanges with real vLLM servers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from reward_client import InputError, Reward, ShapeError, StepHead

from ...support.cells import Outcome, cell
from .recording import STEP_TOKEN, STEP_TOKEN_ID, Recording
from .scoring import TOLERANCE, score

MIN = StepHead(step_token=STEP_TOKEN, good_label=1, aggregate="min")

# What each version applies to the values, and how that is known.
ACTIVATIONS = {
    "0.8.5": ("softmax", "probe"),
    "0.9.2": ("softmax", "probe"),
    "0.10.1.1": ("softmax", "probe"),
    "0.10.2": ("softmax", "probe"),
    "0.11.2": ("none", "request"),
    "0.12.0": ("none", "request"),
    "0.15.1": ("none", "request"),
    "0.16.0": ("none", "request"),
    "0.20.2": ("none", "request"),
    "0.25.1": ("none", "request"),
    "0.32.0": ("none", "request"),
    "0.33.0": ("none", "request"),
}


def with_steps(recording: Recording) -> list[dict[str, Any]]:
    """The conversations that hold step tokens, with what torch gives for them."""
    return [reference for reference in recording.reference if reference["step_logits"]]


def probabilities(reference: dict[str, Any]) -> list[float]:
    """The softmax over the two labels of each step, at the good one."""
    return [1 / (1 + math.exp(bad - good)) for bad, good in reference["step_logits"]]


def versions() -> Iterator[Any]:
    """Every version, with its cell of the table of versions."""
    for version, (activation, _) in ACTIVATIONS.items():
        route = "embeddings" if version == "0.8.5" else "pooling"
        outcome: Outcome = "raw" if activation == "none" else "recovered"
        yield pytest.param(version, id=version, marks=cell(version, "steps", route, outcome))


@pytest.mark.parametrize("version", list(versions()))
def test_every_step_has_its_probability(version: str) -> None:
    recording = Recording(f"{version}-prm")
    references = with_steps(recording)
    rewards = [score(recording, reference["messages"], head=MIN) for reference in references]
    assert [len(reward.steps) for reward in rewards] == [3, 1]
    for reward, reference in zip(rewards, references, strict=True):
        expected = probabilities(reference)
        assert [step.value for step in reward.steps] == pytest.approx(expected, abs=TOLERANCE)
        assert reward.value == min(step.value for step in reward.steps)
        _check_logits(reward, reference, raw=ACTIVATIONS[version][0] == "none")
        provenance = reward.provenance
        known = (provenance.activation, provenance.activation_known_by)
        assert known == ACTIVATIONS[version]


def _check_logits(reward: Reward, reference: dict[str, Any], *, raw: bool) -> None:
    for step, logits in zip(reward.steps, reference["step_logits"], strict=True):
        if raw:
            assert step.logits == pytest.approx(logits, abs=TOLERANCE)
        else:
            assert step.logits is None


@pytest.mark.parametrize("version", ACTIVATIONS)
def test_a_token_model_scores_a_step_by_its_last_token(version: str) -> None:
    recording = Recording(f"{version}-token-reward")
    reference = next(each for each in recording.reference if each["tokens"].count(STEP_TOKEN_ID))
    head = StepHead(step_token=STEP_TOKEN, good_label=None, aggregate="product")
    reward = score(recording, reference["messages"], head=head)
    pairs = zip(reference["tokens"], reference["token_rewards"], strict=True)
    logits = [value for token, value in pairs if token == STEP_TOKEN_ID]
    expected = [1 / (1 + math.exp(-logit)) for logit in logits]
    assert [step.value for step in reward.steps] == pytest.approx(expected, abs=TOLERANCE)
    assert [step.logits for step in reward.steps] == [
        pytest.approx((logit,), abs=TOLERANCE) for logit in logits
    ]
    assert reward.value == pytest.approx(math.prod(expected), abs=TOLERANCE)


def test_the_steps_tile_the_tokens_up_to_the_last_step_token() -> None:
    recording = Recording("0.32.0-prm")
    reference = with_steps(recording)[0]
    steps = score(recording, reference["messages"], head=MIN).steps
    assert [step.start for step in steps] == [0, *(step.end for step in steps[:-1])]
    tokens = reference["tokens"]
    ends = [index + 1 for index, token in enumerate(tokens) if token == STEP_TOKEN_ID]
    assert [step.end for step in steps] == ends


def test_the_step_token_may_be_given_by_its_id() -> None:
    recording = Recording("0.32.0-prm")
    messages = with_steps(recording)[0]["messages"]
    by_id = StepHead(step_token=STEP_TOKEN_ID, good_label=1, aggregate="min")
    assert score(recording, messages, head=by_id).steps == (
        score(recording, messages, head=MIN).steps
    )


@pytest.mark.parametrize("version", ["0.8.5", "0.32.0"])
def test_the_aggregate_of_logits(version: str) -> None:
    """From raw values, and from the probabilities of a server that gives nothing else."""
    recording = Recording(f"{version}-prm")
    reference = with_steps(recording)[0]
    head = StepHead(step_token=STEP_TOKEN, good_label=1, aggregate="logit_sum")
    expected = sum(good - bad for bad, good in reference["step_logits"])
    reward = score(recording, reference["messages"], head=head)
    assert reward.value == pytest.approx(expected, abs=3 * TOLERANCE)


@pytest.mark.parametrize("version", ACTIVATIONS)
def test_a_conversation_without_a_step_is_refused(version: str) -> None:
    recording = Recording(f"{version}-prm")
    without = recording.reference[0]
    assert not without["step_logits"]
    with pytest.raises(InputError):
        score(recording, without["messages"], head=MIN)
    sent = [tokens for request in recording.scored for tokens in request["json"]["input"]]
    assert without["tokens"] not in sent


@pytest.mark.parametrize("good_label", [None, 2])
def test_another_number_of_labels_is_refused(good_label: int | None) -> None:
    recording = Recording("0.32.0-prm")
    head = StepHead(step_token=STEP_TOKEN, good_label=good_label, aggregate="min")
    with pytest.raises(ShapeError):
        score(recording, with_steps(recording)[0]["messages"], head=head)
