"""Each way for the requests of either client: own connections, httpx, openai."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self, cast

import httpx
import openai

from reward_client import AsyncRewardClient, RewardClient

from ...support.either import OPENERS, BlockingAsyncClient, EitherClient

KEY = "sk-the-openai-key-0123456789"
TENANT = {"X-Tenant": "tenant-0123456789"}

Opener = Callable[..., EitherClient]


def over_openai(url: str, **options: Any) -> EitherClient:
    carrier = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, default_headers=TENANT)
    return RewardClient.from_openai(carrier, **options)


class OverAsyncOpenAI(BlockingAsyncClient):
    """Closes the OpenAI client too, as its owner has to."""

    @classmethod
    def open(cls, url: str, **options: Any) -> Self:
        carrier = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, default_headers=TENANT)
        self = cls(AsyncRewardClient.from_openai(carrier, **options))
        self.carrier = carrier
        return self

    def close(self) -> None:
        self.run(self.carrier.close())
        super().close()


class SyncOverHttpx(RewardClient):
    """Closes the transport too, as its owner has to."""

    def __init__(self, url: str, **options: Any) -> None:
        self.carrier = httpx.AsyncHTTPTransport()
        super().__init__(url, transport=self.carrier, **options)

    def close(self) -> None:
        self._run(self.carrier.aclose())
        super().close()


class AsyncOverHttpx(BlockingAsyncClient):
    """The same for the asynchronous client."""

    @classmethod
    def open(cls, url: str, **options: Any) -> Self:
        carrier = httpx.AsyncHTTPTransport()
        self = cls(AsyncRewardClient(url, transport=carrier, **options))
        self.carrier = carrier
        return self

    def close(self) -> None:
        self.run(self.carrier.aclose())
        super().close()


class OverOpenAIOverHttpx(BlockingAsyncClient):
    """An OpenAI client with an HTTP client of the caller's, from httpx instead of httpx2."""

    @classmethod
    def open(cls, url: str, **options: Any) -> Self:
        carrier = openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key=KEY, http_client=cast("Any", httpx.AsyncClient())
        )
        self = cls(AsyncRewardClient.from_openai(carrier, **options))
        self.carrier = carrier
        return self

    def close(self) -> None:
        self.run(self.carrier.close())
        super().close()


CARRIERS: dict[str, Opener] = {
    "own, sync": OPENERS["sync"],
    "own, async": OPENERS["async"],
    "httpx, sync": SyncOverHttpx,
    "httpx, async": AsyncOverHttpx.open,
    "openai, sync": over_openai,
    "openai, async": OverAsyncOpenAI.open,
    "openai over httpx": OverOpenAIOverHttpx.open,
}
