"""A server that dies in the middle of score_many, and comes back behind the same URL."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import product
from typing import TYPE_CHECKING

import pytest

from reward_client import BatchError, Reward, RewardClientError
from reward_client._base.options import RetryPolicy

from .conversations import workload
from .ledger import TOLERANCE, difference
from .openers import OPENERS

if TYPE_CHECKING:
    from ..support.either import EitherClient
    from .bench import Bench
    from .conversations import Sample
    from .torch_process import Reference

SAMPLES = 1000
# Answered when the server dies: enough for each of four calls to have rewards, few enough for each
# to have work in flight.
ANSWERED = 800


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return workload(SAMPLES)


@pytest.fixture(scope="module")
def references(bench: Bench, samples: list[Sample]) -> list[Reference]:
    return bench.references("llama", samples)


def test_killed_and_started_again(
    bench: Bench, samples: list[Sample], references: list[Reference]
) -> None:
    server = bench.serve("llama")
    with ExitStack() as stack:
        # A second of retries is less than a server needs to start: the client has to give up.
        retry = RetryPolicy(attempts=2, budget=1, max_wait=1)
        scorers = {
            (kind, on_error): stack.enter_context(closing(OPENERS[kind](server.url, retry=retry)))
            for kind, on_error in product(OPENERS, ("return", "raise"))
        }
        pool = stack.enter_context(ThreadPoolExecutor())
        done_before = server.metric("vllm:request_success_total")
        calls = {
            key: pool.submit(outcome, scorer, samples, key[1]) for key, scorer in scorers.items()
        }
        while server.metric("vllm:request_success_total") - done_before < ANSWERED:
            time.sleep(0.02)
        assert not any(call.done() for call in calls.values())
        server.kill()
        restarted = bench.start("llama")
        for (_, on_error), call in calls.items():
            slots = call.result()
            assert not wrong_rewards(slots, references)
            assert any(isinstance(slot, Reward) for slot in slots.values())
            if on_error == "return":
                assert len(slots) == SAMPLES
                assert any(isinstance(slot, RewardClientError) for slot in slots.values())

        restarted.wait_until_healthy()
        for scorer in scorers.values():
            again = scorer.score_many(samples)
            assert [type(reward) for reward in again] == [Reward] * SAMPLES
            assert not wrong_rewards(dict(enumerate(again)), references)


def outcome(
    scorer: EitherClient, samples: list[Sample], on_error: str
) -> dict[int, Reward | RewardClientError]:
    """What came of each sample, by its index."""
    if on_error == "return":
        return dict(enumerate(scorer.score_many(samples, on_error="return")))
    with pytest.raises(BatchError) as caught:
        scorer.score_many(samples)
    assert isinstance(caught.value.__cause__, RewardClientError)
    results = caught.value.results
    assert len({result.index for result in results}) == len(results)
    assert all((result.reward is None) != (result.error is None) for result in results)
    return {result.index: result.reward or result.error for result in results}


def wrong_rewards(
    slots: dict[int, Reward | RewardClientError], references: list[Reference]
) -> dict[int, object]:
    return {
        index: slot
        for index, slot in slots.items()
        if not isinstance(slot, RewardClientError)
        and not difference(slot.value, references[index].reward) <= TOLERANCE
    }
