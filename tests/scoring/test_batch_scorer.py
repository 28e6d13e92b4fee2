"""Samples that are scored again after a change of the model: no reward is lost on the way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from reward_client import ResponseMismatchError, Reward, ServerUnreachableError
from reward_client._base.token_ids import TokenIds
from reward_client._scoring.pooled import BatchScorer
from reward_client._server.state import MAX_CHANGES
from tests.client.test_streaming import reward

PROMPTS = [TokenIds.of([number]) for number in (1, 2, 3)]


class OnlyFirst(BatchScorer):
    """Scores the first of three prompts; the model changes under the others."""

    def __init__(self, failure: Exception | None, *, in_pool: bool) -> None:
        super().__init__(SimpleNamespace(verified_baseline=self.verify, baseline=self))  # type: ignore[arg-type]
        self.url = "http://host"
        self.failure = failure
        self.in_pool = in_pool
        self.passes = 0

    async def verify(self) -> Any:
        if self.failure is not None and self.in_pool and self.passes:
            raise self.failure
        return self

    async def _score_once(self, baseline: Any, prompts: Any) -> list[Any]:
        self.passes += 1
        if self.failure is not None and self.passes > 1:
            raise self.failure
        return [reward(7.0), None, None] if self.passes == 1 else [None] * len(prompts)

    async def tokenize(self, prompt: Any) -> Any:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("in_pool", [True, False])
def test_a_server_that_is_gone_costs_no_reward(in_pool: bool) -> None:
    scorer = OnlyFirst(ServerUnreachableError("gone"), in_pool=in_pool)
    first, *others = asyncio.run(scorer.score(PROMPTS))
    assert isinstance(first, Reward)
    assert first.value == 7
    assert [str(error) for error in others] == ["gone", "gone"]
    assert others[0] is not others[1]


def test_a_model_that_keeps_changing_costs_no_reward() -> None:
    scorer = OnlyFirst(None, in_pool=False)
    first, *others = asyncio.run(scorer.score(PROMPTS))
    assert scorer.passes == MAX_CHANGES
    assert isinstance(first, Reward)
    assert all(isinstance(error, ResponseMismatchError) for error in others)
    assert others[0] is not others[1]
