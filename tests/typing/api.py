"""Never run: what callers see of the public types, checked by mypy and pyright."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import assert_type

import numpy as np
import openai

from reward_client import (
    AsyncRewardClient,
    ClientStats,
    Conversation,
    Diagnosis,
    FormattedText,
    Limits,
    LinearHead,
    ObjectiveHead,
    Ranking,
    RetryPolicy,
    Reward,
    RewardClient,
    RewardClientError,
    ScalarHead,
    ScoreResult,
    ServerProfile,
    ServerStats,
    Settings,
    StepHead,
    StepReward,
    Strength,
    Timeouts,
    TokenizedSample,
    values,
)
from reward_client.evaluation import (
    Evaluation,
    MeasureDifference,
    ModelComparison,
    compare,
    evaluate,
    evaluate_scored,
)
from reward_client.files import ScoreSummary, score_file
from reward_client.recipes import find_recipe

CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]


def synchronous() -> None:
    with RewardClient("http://localhost:8000", limits=Limits(max_concurrency=8)) as client:
        assert_type(client.score(CHAT), Reward)
        assert_type(client.score(Conversation(CHAT, tools=[{"type": "function"}])), Reward)
        assert_type(client.score(FormattedText("text")), Reward)
        assert_type(client.score([1, 2, 3]), Reward)
        assert_type(client.score(np.array([1, 2, 3])), Reward)
        assert_type(float(client.score(CHAT)), float)
        reward = client.score(CHAT)
        assert_type([reward + 1, 1 - reward, round(reward, 2), abs(reward)], list[float])
        assert_type(max(reward, client.score(CHAT)), Reward)
        assert_type(sorted([reward]), list[Reward])
        assert_type(reward > 0.5, bool)
        assert_type(reward.row(), dict[str, object])
        assert_type(client.score_many([CHAT, CHAT]), list[Reward])
        assert_type(client.score_many(iter([CHAT]), on_error="raise"), list[Reward])
        assert_type(client.score_many([CHAT], on_error="return"), list[Reward | RewardClientError])
        for result in client.stream([CHAT], ordered=False):
            assert_type(result, ScoreResult)
            assert_type(result.reward, Reward | None)
        assert_type(client.rank("2+2?", ["4", "5"]), Ranking)
        assert_type(client.rank(CHAT[:1], ["4"]).best, str)
        rankings = client.rank_many(["2+2?", CHAT[:1]], iter([["4", "5"], ["4"]]))
        assert_type(rankings, list[Ranking])
        assert_type(client.rank_many([], [], on_error="return", progress=True), list[Ranking])
        assert_type(rankings[0].advantages(scale="none"), list[float | None])
        assert_type(rankings[0].strengths, tuple[Strength | None, ...])
        assert_type(values(rankings), list[list[float | None]])
        assert_type(values(rankings, failed=0.0), list[list[float]])
        assert_type(values(rankings[0].rewards), list[float | None])
        assert_type(values(client.stream([CHAT]), failed="raise"), list[float])
        assert_type(values(client.score_many([CHAT])), list[float | None])
        assert_type(values(client.score_many([CHAT], on_error="return"), failed=-1), list[float])
        assert_type(client.tokenize(CHAT), TokenizedSample)
        assert_type(client.servers(), tuple[ServerProfile, ...])
        assert_type(client.stats(), ClientStats)
        assert_type(client.stats().servers, Mapping[str, ServerStats])
        assert_type(client.diagnose(), Diagnosis)
        assert_type(client.settings(), Settings)
        assert_type(score_file(client, "in.jsonl", Path("out.jsonl")), ScoreSummary)
        evaluation = evaluate("rewardbench", "in.jsonl", client, scored=Path("out.jsonl"))
        assert_type(evaluation, Evaluation)
        assert_type(evaluation.value, float)
        assert_type(evaluate_scored("rewardbench", client.score_rows([{}])), Evaluation)
        comparison = compare(evaluation, evaluation, resamples=100, seed=1)
        assert_type(comparison, ModelComparison)
        assert_type(comparison.measures, tuple[MeasureDifference, ...])


def options(carrier: openai.AsyncOpenAI) -> None:
    RewardClient("http://localhost:8000", retry=3, timeout=30)
    AsyncRewardClient("http://localhost:8000", retry=RetryPolicy(), timeout=Timeouts(read=60))
    assert_type(RewardClient.from_openai(carrier, retry=3, timeout=0.5), RewardClient)
    assert_type(AsyncRewardClient.from_openai(carrier, retry=3, timeout=0.5), AsyncRewardClient)
    RewardClient("http://localhost:8000", max_retries=3)  # type: ignore[call-arg]
    AsyncRewardClient("http://localhost:8000", retry="3")  # type: ignore[arg-type]
    RewardClient.from_openai(carrier, max_retries=3)  # type: ignore[call-arg]


def heads() -> None:
    steps = StepHead(step_token="<extra_0>", good_label=1, aggregate="min")
    reward = RewardClient("http://localhost:8000", head=steps).score(
        Conversation(CHAT[:1], steps=["2+2", "4"])
    )
    assert_type(reward.steps, tuple[StepReward, ...])
    assert_type(reward.value, float)
    assert_type(reward.sigmoid(), float)
    RewardClient("http://localhost:8000", head=ObjectiveHead(["a", "b"], {"a": 1}), bos=True)
    assert_type(reward.objectives, dict[str, float])
    assert_type(reward.softmax(), dict[str, float])
    RewardClient("http://localhost:8000", head=LinearHead([0.5, 1.5], bias=0.0))
    RewardClient("http://localhost:8000", head=LinearHead([[0.5, 1.5], [1.0, 2.0]], [0.0, 1.0]))
    RewardClient("http://localhost:8000", recipe=find_recipe("a/model"), tokenizer="auto")


async def asynchronous(source: AsyncIterator[list[int]]) -> None:
    async with AsyncRewardClient("http://localhost:8000", head=ScalarHead()) as client:
        assert_type(await client.score(CHAT), Reward)
        assert_type(await client.score_many([CHAT]), list[Reward])
        assert_type(
            await client.score_many([CHAT], on_error="return"), list[Reward | RewardClientError]
        )
        async with client.stream(source) as results:
            async for result in results:
                assert_type(result, ScoreResult)
        assert_type(await client.rank("2+2?", ["4"]), Ranking)
        assert_type(await client.rank_many(["2+2?"], [["4"]]), list[Ranking])
        assert_type(await client.tokenize(CHAT), TokenizedSample)
        assert_type(await client.servers(), tuple[ServerProfile, ...])
        assert_type(client.stats(), ClientStats)
