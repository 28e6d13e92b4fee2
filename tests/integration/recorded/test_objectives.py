"""Classifiers with several labels, over recorded exchanges with real vLLM servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reward_client import ActivationError, NotARewardError, ObjectiveHead, ShapeError

from ...support.cells import cell
from .recording import Recording
from .scoring import TOLERANCE, score, score_all

FIVE = ObjectiveHead(5)
TOKENS = ObjectiveHead(["<|pad|>", "Yes", "No"])

KIND = "several labels"
ROUTES = {
    "0.10.1.1": "classify",
    "0.10.2": "classify",
    "0.11.2": "pooling",
    "0.12.0": "pooling",
    "0.15.1": "pooling",
    "0.16.0": "pooling",
    "0.20.2": "pooling",
    "0.25.1": "pooling",
    "0.32.0": "pooling",
    "0.33.0": "pooling",
}
# With one of the vocabulary's rows for each label; its weights are loaded there.
OF_TOKENS = {version: ROUTES[version] for version in ("0.10.2", "0.20.2", "0.32.0")}
BY_CLASSIFY = dict.fromkeys(
    ("0.15.1", "0.16.0", "0.20.2", "0.25.1", "0.32.0", "0.33.0"), "classify"
)


def cells(routes: dict[str, str]) -> Iterator[Any]:
    """Versions, each with its cell of the table of versions."""
    for version, route in routes.items():
        yield pytest.param(version, id=version, marks=cell(version, KIND, route, "raw"))


@pytest.mark.parametrize("version", list(cells(ROUTES)))
def test_labels_are_raw(version: str) -> None:
    recording = Recording(f"{version}-seqcls5")
    rewards = score_all(recording, head=FIVE)
    for reward, reference in zip(rewards, recording.reference, strict=True):
        expected = {f"label_{index}": value for index, value in enumerate(reference["reward"])}
        assert reward.objectives == pytest.approx(expected, abs=TOLERANCE)
    provenance = rewards[0].provenance
    assert (provenance.route, provenance.activation) == (ROUTES[version], "none")
    assert provenance.activation_known_by == "request"


def test_labels_without_weights_make_no_scalar() -> None:
    reward = score(Recording("0.32.0-seqcls5"), head=FIVE)
    with pytest.raises(TypeError, match="weights"):
        float(reward)


def test_weights_make_one_reward_of_the_labels() -> None:
    recording = Recording("0.32.0-seqcls5")
    weights = {"label_0": 0.5, "label_3": -2.0}
    rewards = score_all(recording, head=ObjectiveHead(5, weights))
    expected = [
        0.5 * reference["reward"][0] - 2 * reference["reward"][3]
        for reference in recording.reference
    ]
    values = [reward.value for reward in rewards]
    assert values == pytest.approx(expected, abs=sum(map(abs, weights.values())) * TOLERANCE)


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(version, marks=cell(version, KIND, route, "error"))
        for version, route in {"0.8.5": "embeddings", "0.9.2": "pooling"}.items()
    ],
)
def test_a_softmax_that_no_request_can_turn_off_is_refused(version: str) -> None:
    with pytest.raises(ActivationError) as caught:
        score(Recording(f"{version}-seqcls5"), head=FIVE)
    assert '"softmax": false' in str(caught.value)


def test_another_number_of_labels_is_refused() -> None:
    with pytest.raises(ShapeError, match="5 values"):
        score(Recording("0.20.2-seqcls5"), head=ObjectiveHead(4))


@pytest.mark.parametrize("version", list(cells(BY_CLASSIFY)))
def test_the_classify_route_gives_the_same_labels(version: str) -> None:
    recording = Recording(f"{version}-seqcls5")
    reward = score(recording, head=FIVE, route="classify")
    labels = list(reward.objectives.values())
    assert labels == pytest.approx(recording.reference[0]["reward"], abs=TOLERANCE)
    assert reward.provenance.route == "classify"


@pytest.mark.parametrize("version", list(cells(OF_TOKENS)))
def test_a_classifier_made_of_tokens_gives_their_logits(version: str) -> None:
    recording = Recording(f"{version}-causal-classify")
    rewards = score_all(recording, head=TOKENS)
    for reward, reference in zip(rewards, recording.reference, strict=True):
        assert reward.objectives == pytest.approx(reference["logits"], abs=TOLERANCE)
    assert rewards[0].provenance.activation == "none"


@cell("0.12.0", KIND, "pooling", "error")
def test_a_classifier_whose_weights_were_not_loaded_is_refused() -> None:
    with pytest.raises(NotARewardError, match="not loaded"):
        score(Recording("0.12.0-causal-classify"), head=TOKENS)
