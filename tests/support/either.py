"""Both clients behind one blocking surface, so that one test body serves both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Literal, Protocol, Self, TypeVar

from reward_client import AsyncRewardClient, ClientStats, Diagnosis, Ranking, RewardClient
from reward_client._base.results import Reward, ScoreResult, ServerProfile, TokenizedSample

T = TypeVar("T")
Kind = Literal["sync", "async"]


class EitherClient(Protocol):
    """What the tests call."""

    def score(self, sample: Any) -> Reward: ...
    def score_many(self, samples: Iterable[Any], **options: Any) -> list[Any]: ...
    def stream(self, samples: Iterable[Any], **options: Any) -> Iterable[ScoreResult]: ...
    def score_rows(self, rows: Any, **options: Any) -> Any: ...
    def stream_rows(self, rows: Iterable[Any], **options: Any) -> Iterable[dict[str, Any]]: ...
    def rank(self, prompt: Any, responses: Sequence[str]) -> Ranking: ...
    def rank_many(self, prompts: Any, responses: Any, **options: Any) -> list[Ranking]: ...
    def tokenize(self, sample: Any) -> TokenizedSample: ...
    def servers(self) -> tuple[ServerProfile, ...]: ...
    def wait_until_ready(self, *, timeout: float = ...) -> None: ...
    def diagnose(self, sample: Any = None) -> Diagnosis: ...
    def stats(self) -> ClientStats: ...
    def close(self) -> None: ...


class BlockingAsyncClient:
    """`AsyncRewardClient` on an event loop that runs while it is asked something."""

    def __init__(self, client: AsyncRewardClient) -> None:
        self._client = client
        self._runner = asyncio.Runner()
        self._closed = False

    @classmethod
    def open(cls, url: str, **options: Any) -> Self:
        return cls(AsyncRewardClient(url, **options))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def score(self, sample: Any) -> Reward:
        return self.run(self._client.score(sample))

    def score_many(self, samples: Iterable[Any], **options: Any) -> list[Any]:
        return self.run(self._client.score_many(samples, **options))

    def stream(self, samples: Iterable[Any], **options: Any) -> Iterable[ScoreResult]:
        async def all_results() -> list[ScoreResult]:
            async with self._client.stream(samples, **options) as stream:
                return [result async for result in stream]

        return self.run(all_results())

    def score_rows(self, rows: Any, **options: Any) -> Any:
        return self.run(self._client.score_rows(rows, **options))

    def stream_rows(self, rows: Iterable[Any], **options: Any) -> Iterable[dict[str, Any]]:
        async def all_rows() -> list[dict[str, Any]]:
            return [row async for row in self._client.stream_rows(rows, **options)]

        return self.run(all_rows())

    def rank(self, prompt: Any, responses: Sequence[str]) -> Ranking:
        return self.run(self._client.rank(prompt, responses))

    def rank_many(self, prompts: Any, responses: Any, **options: Any) -> list[Ranking]:
        return self.run(self._client.rank_many(prompts, responses, **options))

    def tokenize(self, sample: Any) -> TokenizedSample:
        return self.run(self._client.tokenize(sample))

    def servers(self) -> tuple[ServerProfile, ...]:
        return self.run(self._client.servers())

    def wait_until_ready(self, *, timeout: float = 600) -> None:
        self.run(self._client.wait_until_ready(timeout=timeout))

    def diagnose(self, sample: Any = None) -> Diagnosis:
        return self.run(self._client.diagnose(sample))

    def stats(self) -> ClientStats:
        return self._client.stats()

    def __repr__(self) -> str:
        return repr(self._client)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.run(self._client.aclose())
            self._runner.close()


def kind_of(client: EitherClient) -> Kind:
    """Which of the two it is."""
    return "sync" if isinstance(client, RewardClient) else "async"


OPENERS: dict[Kind, Callable[..., EitherClient]] = {
    "sync": RewardClient,
    "async": BlockingAsyncClient.open,
}
