"""Hand-written clients: loops over requests, each by a common HTTP library."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, NamedTuple, TypeAlias

CONCURRENT_REQUESTS = 64
"""For requests of one sample each."""
BATCH_SIZE = 32
"""Samples in a request, as reward_client's default."""
CONCURRENT_BATCHES = 8
"""For requests of a batch each; together they exceed vLLM's limit of 128 scheduled samples."""


class Route(NamedTuple):
    """A request for raw rewards to vLLM 0.32.

    Attributes:
        path: The path of the request.
        body: The fields of the body besides the input.
        key: The key of the value in an item of the response.
    """

    path: str
    body: Mapping[str, Any]
    key: str


ROUTES = {
    "classify": Route("/pooling", {"task": "classify", "use_activation": False}, "data"),
    "embeddings": Route("/v1/embeddings", {}, "embedding"),
    "embed": Route("/pooling", {"task": "embed"}, "data"),
}
"""The route of a score head, and the two routes of an exported checkpoint."""


class Target(NamedTuple):
    """A server and its route; a tuple of strings, which passes between processes as JSON.

    Attributes:
        url: The base URL.
        model: The served model name.
        route: A key of `ROUTES`.
        tokenizer: The folder of the model's tokenizer.
    """

    url: str
    model: str
    route: str = "classify"
    tokenizer: str = ""


Samples: TypeAlias = Sequence[Any]
"""Token IDs, or conversations."""

Score: TypeAlias = Callable[[Samples], list[float]]
Competitor: TypeAlias = Callable[[Target], AbstractContextManager[Score]]
"""Opens a function that scores samples, with all that a long run sets up once."""

Post: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
Library: TypeAlias = Callable[[str], AbstractAsyncContextManager[Post]]
Loop: TypeAlias = Callable[["TargetClient", Samples], Coroutine[Any, Any, list[float]]]


class TargetClient(NamedTuple):
    """The requests to a target by one library.

    Attributes:
        target: The target.
        post: Posts a body to a path, and returns the JSON of the response.
    """

    target: Target
    post: Post

    async def score(self, inputs: Samples, *, field: str = "input") -> list[float]:
        """Post one request, and return its values."""
        route = ROUTES[self.target.route]
        body = {"model": self.target.model, field: inputs, **route.body}
        response = await self.post(route.path, body)
        items = sorted(response["data"], key=lambda item: item["index"])
        return [item[route.key][0] for item in items]

    async def tokenize(self, messages: Any) -> list[int]:
        body = {"model": self.target.model, "messages": messages, "add_generation_prompt": False}
        ids: list[int] = (await self.post("/tokenize", body))["tokens"]
        return ids


def on_event_loop(library: Library, loop: Loop) -> Competitor:
    """Make a competitor of a loop by an asynchronous library; one event loop serves all calls."""

    @contextmanager
    def opened(target: Target) -> Generator[Score]:
        with asyncio.Runner() as runner:
            connected = library(target.url)
            client = TargetClient(target, runner.run(connected.__aenter__()))
            try:
                yield lambda samples: runner.run(loop(client, samples))
            finally:
                runner.run(connected.__aexit__(None, None, None))

    return opened


@asynccontextmanager
async def by_aiohttp(url: str) -> AsyncGenerator[Post]:
    import aiohttp
    import orjson

    headers = {"content-type": "application/json"}
    timeout = aiohttp.ClientTimeout(600)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:

        async def post(path: str, body: Mapping[str, Any]) -> Any:
            async with session.post(url + path, data=orjson.dumps(body)) as response:
                response.raise_for_status()
                return orjson.loads(await response.read())

        yield post


@asynccontextmanager
async def by_httpx(url: str) -> AsyncGenerator[Post]:
    import httpx

    limits = httpx.Limits(max_connections=CONCURRENT_REQUESTS)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=600) as client:

        async def post(path: str, body: Mapping[str, Any]) -> Any:
            response = await client.post(path, json=body)
            return response.raise_for_status().json()

        yield post


@asynccontextmanager
async def by_openai(url: str) -> AsyncGenerator[Post]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:

        async def post(path: str, body: Mapping[str, Any]) -> Any:
            return await client.post(path, cast_to=object, body=body)

        yield post


def in_batches(samples: Samples) -> list[Samples]:
    """Split samples, in order, into the batches that all competitors send."""
    return [samples[start : start + BATCH_SIZE] for start in range(0, len(samples), BATCH_SIZE)]


async def batches(client: TargetClient, samples: Samples) -> list[float]:
    """Post batches, and read nothing but the values."""
    slots = asyncio.Semaphore(CONCURRENT_BATCHES)

    async def score(batch: Samples) -> list[float]:
        async with slots:
            return await client.score(batch)

    values = await asyncio.gather(*map(score, in_batches(samples)))
    return [value for batch in values for value in batch]


async def one_by_one(client: TargetClient, samples: Samples) -> list[float]:
    """Post a request for each sample."""
    slots = asyncio.Semaphore(CONCURRENT_REQUESTS)

    async def score(ids: Any) -> float:
        async with slots:
            (value,) = await client.score([ids])
            return value

    return list(await asyncio.gather(*map(score, samples)))


async def one_by_one_at_once(client: TargetClient, samples: Samples) -> list[float]:
    """Post a request for each sample, all at once: the library bounds its connections itself."""
    return [value for (value,) in await asyncio.gather(*(client.score([ids]) for ids in samples))]


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

    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        yield lambda samples: list(pool.map(post, samples))
