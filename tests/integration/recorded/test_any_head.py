"""Whatever head and route is asked for, on whatever server: the right numbers or a typed error."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from reward_client import (
    AsyncRewardClient,
    LinearHead,
    ObjectiveHead,
    Reward,
    RewardClientError,
    ScalarHead,
    StepHead,
)

from .recording import STEP_TOKEN_ID, Recording, names
from .scoring import TOLERANCE

ROUTES: Sequence[Literal["auto", "embeddings", "pooling", "classify"]] = (
    "auto",
    "embeddings",
    "pooling",
    "classify",
)
WEIGHT = [math.cos(index) / 4 for index in range(128)]
HEADS: dict[str, Any] = {
    "auto": "auto",
    "scalar": ScalarHead(),
    "steps of several labels": StepHead(step_token=STEP_TOKEN_ID, good_label=1, aggregate="min"),
    "steps of one label": StepHead(step_token=STEP_TOKEN_ID, good_label=None, aggregate="min"),
    "five objectives": ObjectiveHead(5),
    "three objectives": ObjectiveHead(3),
    "linear": LinearHead(WEIGHT),
}
WITH_STEPS = 10


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", names())
def test_right_or_refused(name: str, head: str) -> None:
    for route in ROUTES:
        recording = Recording(name)
        reference = recording.reference[WITH_STEPS]
        try:
            reward = asyncio.run(_score(recording, reference["messages"], HEADS[head], route))
        except RewardClientError:
            continue
        expected = _expected(head, reference)
        assert expected is not None, f"a number that means nothing by {route}"
        assert _numbers(reward) == pytest.approx(expected, abs=TOLERANCE)


async def _score(
    recording: Recording,
    messages: list[dict[str, str]],
    head: Any,
    route: Literal["auto", "embeddings", "pooling", "classify"],
) -> Reward:
    async with AsyncRewardClient(
        "http://recorded",
        transport=recording.transport(),
        head=head,
        route=route,
        on_unanswered="allow",
        on_control_tokens="allow",
    ) as client:
        return await client.score(messages)


def _numbers(reward: Reward) -> list[float]:
    steps = [step.value for step in reward.steps]
    return steps or list(reward.objectives.values()) or [reward.value]


def _expected(head: str, reference: dict[str, Any]) -> list[float] | None:
    """What a head gives for this model, None if it gives nothing that means anything."""
    labels = reference.get("reward", [])
    logits = reference.get("logits", {})
    if head in ("auto", "scalar"):
        return labels if len(labels) == 1 else [logits["Yes"] - logits["No"]] if logits else None
    if head == "steps of several labels":
        return [_softmax(row)[1] for row in reference.get("step_logits", [])] or None
    if head == "steps of one label" and "token_rewards" in reference:
        pairs = zip(reference["tokens"], reference["token_rewards"], strict=True)
        return [_sigmoid(value) for token, value in pairs if token == STEP_TOKEN_ID]
    if head == "five objectives":
        return labels if len(labels) == 5 else None
    if head == "three objectives":
        return list(logits.values()) or None
    if head == "linear" and "hidden" in reference:
        return [math.fsum(a * b for a, b in zip(WEIGHT, reference["hidden"], strict=True))]
    return None


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def _softmax(row: Sequence[float]) -> list[float]:
    total = math.fsum(map(math.exp, row))
    return [math.exp(value) / total for value in row]
