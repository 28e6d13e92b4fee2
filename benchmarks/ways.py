"""What the ways to score have in common: where to, by which library, and how they are opened."""

from __future__ import annotations

import asyncio
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

AT_A_TIME = 64
"""Requests of one sample each."""
PACK = 32
"""Samples in a request, as reward_client's default."""
PACKS_AT_A_TIME = 8
"""Requests of a pack each; together they hold more than the 128 that vLLM schedules at once."""


class Route(NamedTuple):
    """How vLLM 0.32 is asked for raw rewards.

    Attributes:
        path: Where.
        body: What goes with the input.
        key: Where a value is in an item of the reply.
    """

    path: str
    body: Mapping[str, Any]
    key: str


ROUTES = {
    "classify": Route("/pooling", {"task": "classify", "use_activation": False}, "data"),
    "embeddings": Route("/v1/embeddings", {}, "embedding"),
    "embed": Route("/pooling", {"task": "embed"}, "data"),
}
"""A score head's, and the two of an exported checkpoint."""


class Target(NamedTuple):
    """A server, and how it is asked; a tuple of strings, so that it goes from process to process.

    Attributes:
        url: Of the server.
        model: The name that it serves.
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
Strategy: TypeAlias = Callable[[Target], AbstractContextManager[Score]]
"""Opens what scores many samples: connections and all else that a long run needs once."""

Post: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
Library: TypeAlias = Callable[[str], AbstractAsyncContextManager[Post]]
Loop: TypeAlias = Callable[["Asking", Samples], Coroutine[Any, Any, list[float]]]


class Asking(NamedTuple):
    """The requests of a target, by one library.

    Attributes:
        target: The target.
        post: Posts a body to a path, and returns what the reply holds.
    """

    target: Target
    post: Post

    async def score(self, inputs: Samples, *, field: str = "input") -> list[float]:
        """The values of one request."""
        route = ROUTES[self.target.route]
        body = {"model": self.target.model, field: inputs, **route.body}
        response = await self.post(route.path, body)
        items = sorted(response["data"], key=lambda item: item["index"])
        return [item[route.key][0] for item in items]

    async def tokenize(self, messages: Any) -> list[int]:
        body = {"model": self.target.model, "messages": messages, "add_generation_prompt": False}
        ids: list[int] = (await self.post("/tokenize", body))["tokens"]
        return ids


def looped(library: Library, loop: Loop) -> Strategy:
    """A way by an asynchronous library, on an event loop that lives as long as the way."""

    @contextmanager
    def opened(target: Target) -> Generator[Score]:
        with asyncio.Runner() as runner:
            connected = library(target.url)
            asking = Asking(target, runner.run(connected.__aenter__()))
            try:
                yield lambda samples: runner.run(loop(asking, samples))
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

    limits = httpx.Limits(max_connections=AT_A_TIME)
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
