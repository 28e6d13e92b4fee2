"""The competitors that score token IDs: reward_client, other clients, and hand-written loops."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.baselines import (
    ROUTES,
    Competitor,
    Samples,
    Score,
    Target,
    batches,
    by_aiohttp,
    by_httpx,
    by_openai,
    in_batches,
    on_event_loop,
    one_by_one,
    one_by_one_at_once,
    requests_threads,
)

if TYPE_CHECKING:
    from reward_client import RewardClient

OURS = "reward_client, score_many"
OURS_STREAM = "reward_client, stream"
OURS_SINGLE = "reward_client, score_many, one by one"
OURS_STREAM_SINGLE = "reward_client, stream, one by one"
BY_HAND = "aiohttp by hand, batches"
OPENAI = "AsyncOpenAI + gather"


def client(target: Target, *, one_by_one: bool = False, **options: Any) -> RewardClient:
    """Open a RewardClient, which finds the route by itself."""
    from reward_client import Limits, RewardClient

    limits = Limits(**{_batch_option(Limits): 1}) if one_by_one else Limits()
    return RewardClient(target.url, model=target.model, limits=limits, **options)


def _batch_option(limits: type) -> str:
    # Checkouts from before the rename, which --package may name, call a batch a pack.
    known = inspect.signature(limits).parameters
    return "max_batch_items" if "max_batch_items" in known else "max_pack_items"


def ours(*, one_by_one: bool = False, **options: Any) -> Competitor:
    """Score by `RewardClient.score_many`."""

    @contextmanager
    def opened(target: Target) -> Generator[Score]:
        with client(target, one_by_one=one_by_one, **options) as scorer:
            yield lambda samples: [reward.value for reward in scorer.score_many(samples)]

    return opened


def ours_stream(*, one_by_one: bool = False) -> Competitor:
    """Score by `RewardClient.stream`."""

    @contextmanager
    def opened(target: Target) -> Generator[Score]:
        with client(target, one_by_one=one_by_one) as scorer:

            def score(samples: Samples) -> list[float]:
                with scorer.stream(samples) as results:
                    return [result.reward.value for result in results if result.reward is not None]

            yield score

    return opened


def baseten(concurrency: int) -> Competitor:
    """Score by Baseten's client with this number of concurrent requests, each of a batch."""

    @contextmanager
    def opened(target: Target) -> Generator[Score]:
        from baseten_performance_client import PerformanceClient, RequestProcessingPreference

        performance = PerformanceClient(base_url=target.url, api_key="none")
        preference = RequestProcessingPreference(max_concurrent_requests=concurrency)
        route = ROUTES[target.route]

        def score(samples: Samples) -> list[float]:
            bodies: list[Any] = [
                {"model": target.model, "input": batch, **route.body}
                for batch in in_batches(samples)
            ]
            responses = performance.batch_post(route.path, bodies, preference)
            return [item[route.key][0] for response in responses.data for item in response["data"]]

        yield score

    return opened


BASETEN: Mapping[str, Competitor] = {
    f"Baseten's client, batches, {concurrency} at a time": baseten(concurrency)
    for concurrency in (2, 4, 8, 16, 64)
}
"""By concurrency, as the best one depends on the machine."""
BATCHED: Mapping[str, Competitor] = {
    OURS: ours(),
    OURS_STREAM: ours_stream(),
    BY_HAND: on_event_loop(by_aiohttp, batches),
    **BASETEN,
}
SINGLE: Mapping[str, Competitor] = {
    OURS_SINGLE: ours(one_by_one=True),
    OURS_STREAM_SINGLE: ours_stream(one_by_one=True),
    "aiohttp by hand, one by one": on_event_loop(by_aiohttp, one_by_one),
    "requests, 64 threads": requests_threads,
    OPENAI: on_event_loop(by_openai, one_by_one),
    "httpx + gather": on_event_loop(by_httpx, one_by_one_at_once),
}
TOKEN_IDS = {**BATCHED, **SINGLE}
OF_THE_PACKAGE = (OURS, OURS_STREAM, OURS_SINGLE, OURS_STREAM_SINGLE)
