"""The contestants that are given token IDs: this client, and what people use instead."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from benchmarks.ways import (
    AT_A_TIME,
    PACK,
    PACKS_AT_A_TIME,
    ROUTES,
    Asking,
    Samples,
    Score,
    Strategy,
    Target,
    by_aiohttp,
    by_httpx,
    by_openai,
    looped,
)

if TYPE_CHECKING:
    from reward_client import RewardClient

OURS = "reward_client, score_many"
OURS_EACH = "reward_client, score_many, one by one"
BY_HAND = "aiohttp by hand, packs"
BASETEN = "Baseten's client, packs"
OPENAI = "AsyncOpenAI + gather"


def batcher(samples: Samples) -> list[Samples]:
    """The samples in the packs that all contestants send, in order."""
    return [samples[start : start + PACK] for start in range(0, len(samples), PACK)]


def client(target: Target, *, one_by_one: bool = False, **options: Any) -> RewardClient:
    """This client, which finds out by itself how to ask."""
    from reward_client import Limits, RewardClient

    limits = Limits(max_batch_items=1) if one_by_one else Limits()
    return RewardClient(target.url, model=target.model, limits=limits, **options)


def ours(*, one_by_one: bool = False, **options: Any) -> Strategy:
    """`RewardClient.score_many`."""

    @contextmanager
    def opened(target: Target) -> Generator[Score]:
        with client(target, one_by_one=one_by_one, **options) as scorer:
            yield lambda samples: [reward.value for reward in scorer.score_many(samples)]

    return opened


def ours_stream(*, one_by_one: bool = False) -> Strategy:
    """`RewardClient.stream`."""

    @contextmanager
    def opened(target: Target) -> Generator[Score]:
        with client(target, one_by_one=one_by_one) as scorer:

            def score(samples: Samples) -> list[float]:
                with scorer.stream(samples) as results:
                    return [result.reward.value for result in results if result.reward is not None]

            yield score

    return opened


async def pack_by_pack(asking: Asking, samples: Samples) -> list[float]:
    """Posts packs, and reads no more than the values."""
    slots = asyncio.Semaphore(PACKS_AT_A_TIME)

    async def score(batch: Samples) -> list[float]:
        async with slots:
            return await asking.score(batch)

    values = await asyncio.gather(*map(score, batcher(samples)))
    return [value for batch in values for value in batch]


async def each(asking: Asking, samples: Samples) -> list[float]:
    """Posts a request for each sample."""
    slots = asyncio.Semaphore(AT_A_TIME)

    async def score(ids: Any) -> float:
        async with slots:
            (value,) = await asking.score([ids])
            return value

    return list(await asyncio.gather(*map(score, samples)))


async def each_at_once(asking: Asking, samples: Samples) -> list[float]:
    """The same, where the library bounds its connections by itself."""
    return [value for (value,) in await asyncio.gather(*(asking.score([ids]) for ids in samples))]


@contextmanager
def requests_threads(target: Target) -> Generator[Score]:
    from concurrent.futures import ThreadPoolExecutor

    import requests

    local = threading.local()
    route = ROUTES[target.route]

    def post(ids: Any) -> float:
        session = getattr(local, "session", None)
        if session is None:
            session = local.session = requests.Session()
        body = {"model": target.model, "input": [ids], **route.body}
        response = session.post(target.url + route.path, json=body, timeout=600)
        value: float = response.json()["data"][0][route.key][0]
        return value

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        yield lambda samples: list(pool.map(post, samples))


@contextmanager
def baseten_packs(target: Target) -> Generator[Score]:
    from baseten_performance_client import PerformanceClient, RequestProcessingPreference

    performance = PerformanceClient(base_url=target.url, api_key="none")
    preference = RequestProcessingPreference(max_concurrent_requests=PACKS_AT_A_TIME)
    route = ROUTES[target.route]

    def score(samples: Samples) -> list[float]:
        bodies: list[Any] = [
            {"model": target.model, "input": batch, **route.body} for batch in batcher(samples)
        ]
        responses = performance.batch_post(route.path, bodies, preference)
        return [item[route.key][0] for response in responses.data for item in response["data"]]

    yield score


PACKED: Mapping[str, Strategy] = {
    OURS: ours(),
    "reward_client, stream": ours_stream(),
    BY_HAND: looped(by_aiohttp, pack_by_pack),
    BASETEN: baseten_packs,
}
ONE_BY_ONE: Mapping[str, Strategy] = {
    OURS_EACH: ours(one_by_one=True),
    "reward_client, stream, one by one": ours_stream(one_by_one=True),
    "aiohttp by hand, one by one": looped(by_aiohttp, each),
    "requests, 64 threads": requests_threads,
    OPENAI: looped(by_openai, each),
    "httpx + gather": looped(by_httpx, each_at_once),
}
TOKEN_IDS = {**PACKED, **ONE_BY_ONE}
