"""The whole client over recorded exchanges with real vLLM servers of five versions."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from reward_client import (
    ActivationError,
    AsyncRewardClient,
    NotARewardError,
    Reward,
    RewardClientError,
    RouteNotFoundError,
    ShapeError,
)

from .recorded import Recording, names

# float32 arithmetic of two engines, over values of about one; the recordings agree to 1e-5.
TOLERANCE = 1e-4

REWARDS = {
    "0.8.5-seqcls-raw": ("embeddings", None, "probe", "scalar"),
    "0.8.5-token-reward": ("embeddings", None, "probe", "scalar (last token, assumed)"),
    "0.10.2-token-reward": ("pooling", None, "probe", "scalar (last token, assumed)"),
    "0.12.0-seqcls": ("pooling", "classify", "request", "scalar"),
    "0.12.0-token-reward": ("pooling", "token_classify", "request", "scalar (last token, assumed)"),
    "0.20.2-seqcls": ("pooling", "classify", "request", "scalar"),
    "0.20.2-token-reward": ("pooling", "token_classify", "request", "scalar (last token, assumed)"),
    "0.32.0-seqcls": ("pooling", "classify", "request", "scalar"),
    "0.32.0-seqcls-tokcls": (
        "pooling",
        "token_classify",
        "request",
        "scalar (last token, assumed)",
    ),
    "0.32.0-token-reward": ("pooling", "token_classify", "request", "scalar (last token, assumed)"),
}

REFUSALS: dict[str, tuple[type[RewardClientError], str]] = {
    "0.8.5-seqcls": (ActivationError, '"softmax": false'),
    "0.8.5-seqcls5": (ShapeError, "5 values for a conversation"),
    "0.8.5-prm": (ShapeError, "process reward model"),
    "0.8.5-causal-embed-raw": (NotARewardError, "128 numbers"),
    "0.10.2-seqcls": (RouteNotFoundError, "upgrade the server to 0.11.1"),
    "0.10.2-causal-embed": (NotARewardError, "--runner pooling"),
    "0.12.0-causal-embed": (NotARewardError, "--runner pooling"),
    "0.20.2-causal-embed": (NotARewardError, "--runner pooling"),
    "0.32.0-causal-embed": (NotARewardError, "--runner pooling"),
    "0.32.0-prm": (ShapeError, "process reward model"),
    "0.32.0-seqcls5": (ShapeError, "5 values for a conversation"),
}


def score_all(recording: Recording) -> list[Reward]:
    async def main() -> list[Reward]:
        url = "http://recorded"
        async with AsyncRewardClient(url, transport=recording.transport()) as client:
            return await client.score_many(recording.conversations)

    return asyncio.run(main())


def test_every_recording_is_used() -> None:
    assert sorted([*REWARDS, *REFUSALS]) == names()


@pytest.mark.parametrize("name", REWARDS)
def test_rewards_equal_the_reference(name: str) -> None:
    recording = Recording(name)
    rewards = score_all(recording)
    assert [reward.value for reward in rewards] == pytest.approx(recording.rewards, abs=TOLERANCE)
    assert [reward.token_count for reward in rewards] == list(map(len, recording.token_ids))
    provenance = rewards[0].provenance
    assert (provenance.route, provenance.activation_known_by, provenance.head) == (
        REWARDS[name][0],
        *REWARDS[name][2:],
    )
    assert provenance.activation == "none"
    scored = [request["json"] for request in recording.requests if "input" in request["json"]]
    assert all(request.get("task") == REWARDS[name][1] for request in scored[1:])
    assert all(reward.provenance is provenance for reward in rewards)


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_no_scalar_reward_is_refused(name: str) -> None:
    kind, hint = REFUSALS[name]
    recording = Recording(name)

    async def main() -> None:
        async with AsyncRewardClient("http://recorded", transport=recording.transport()) as client:
            await client.score(recording.conversations[0])

    with pytest.raises(kind) as caught:
        asyncio.run(main())
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["0.8.5-seqcls-raw", "0.8.5-token-reward"])
def test_the_embeddings_request_is_the_recorded_one_byte_for_byte(name: str) -> None:
    recording = Recording(name)
    score_all(recording)
    (answer,) = recording.data["answers"]
    sent = {request["content"] for request in recording.requests if "input" in request["json"]}
    for item in answer["items"]:
        recorded = {
            "model": answer["request"]["model"],
            "input": [item["token_ids"]],
            "encoding_format": answer["request"]["encoding_format"],
        }
        assert orjson.dumps(recorded) in sent
