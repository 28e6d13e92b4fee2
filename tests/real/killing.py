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
# Scored in each of four calls when the server dies, with work in flight.
SCORED = 200


def check_killed_and_started_again(bench: Bench, model: str) -> None:
    """No reward is wrong or lost; all samples get theirs once the server is back."""
    samples = workload(SAMPLES)
    references = bench.references(model, samples)
    server = bench.serve(model)
    with ExitStack() as stack:
        # A second of retries is less than a server needs to start: the client has to give up.
        retry = RetryPolicy(attempts=2, budget=1, max_wait=1)
        clients = {
            (kind, on_error): stack.enter_context(closing(OPENERS[kind](server.url, retry=retry)))
            for kind, on_error in product(OPENERS, ("return", "raise"))
        }
        pool = stack.enter_context(ThreadPoolExecutor())
        calls = {
            key: pool.submit(outcome, client, samples, key[1]) for key, client in clients.items()
        }
        while min(client.stats().scored for client in clients.values()) < SCORED:
            time.sleep(0.02)
        assert not any(call.done() for call in calls.values())
        server.kill()
        restarted = bench.start(model)
        for (_, on_error), call in calls.items():
            slots = call.result()
            assert not wrong_rewards(slots, references)
            assert any(isinstance(slot, Reward) for slot in slots.values())
            if on_error == "return":
                assert len(slots) == SAMPLES
                assert any(isinstance(slot, RewardClientError) for slot in slots.values())

        restarted.wait_until_healthy()
        for client in clients.values():
            again = client.score_many(samples)
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
