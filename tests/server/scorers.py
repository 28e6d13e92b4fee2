"""Both clients behind one face, so that each test is written once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from reward_client import AsyncRewardClient, RewardClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reward_client import Reward, RewardClientError
    from reward_client.rewards import Ranking, ScoreResult, TokenizedSample

    from .conversations import Messages, Sample


class Scorer(Protocol):
    """What the tests ask of a client."""

    kind: str
    client: RewardClient | AsyncRewardClient

    def score(self, sample: Sample) -> Reward: ...
    def score_many(
        self, samples: Iterable[Sample], on_error: str = "raise"
    ) -> list[Reward | RewardClientError]: ...
    def stream(self, samples: Iterable[Sample], *, ordered: bool) -> list[ScoreResult]: ...
    def rank(self, prompt: str | Messages, responses: Sequence[str]) -> Ranking: ...
    def tokenize(self, sample: Sample) -> TokenizedSample: ...
    def close(self) -> None: ...


class SyncScorer:
    kind = "sync"

    def __init__(self, url: str, **options: Any) -> None:
        self.client = RewardClient(url, **options)

    def score(self, sample: Sample) -> Reward:
        return self.client.score(sample)

    def score_many(self, samples: Iterable[Sample], on_error: Any = "raise") -> Any:
        return self.client.score_many(samples, on_error=on_error)

    def stream(self, samples: Iterable[Sample], *, ordered: bool) -> list[ScoreResult]:
        with self.client.stream(samples, ordered=ordered) as results:
            return list(results)

    def rank(self, prompt: str | Messages, responses: Sequence[str]) -> Ranking:
        return self.client.rank(prompt, responses)

    def tokenize(self, sample: Sample) -> TokenizedSample:
        return self.client.tokenize(sample)

    def close(self) -> None:
        self.client.close()


class AsyncScorer:
    kind = "async"

    def __init__(self, url: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self.client = AsyncRewardClient(url, **options)

    def score(self, sample: Sample) -> Reward:
        return self._runner.run(self.client.score(sample))

    def score_many(self, samples: Iterable[Sample], on_error: Any = "raise") -> Any:
        return self._runner.run(self.client.score_many(samples, on_error=on_error))

    def stream(self, samples: Iterable[Sample], *, ordered: bool) -> list[ScoreResult]:
        async def collect() -> list[ScoreResult]:
            async with self.client.stream(samples, ordered=ordered) as results:
                return [result async for result in results]

        return self._runner.run(collect())

    def rank(self, prompt: str | Messages, responses: Sequence[str]) -> Ranking:
        return self._runner.run(self.client.rank(prompt, responses))

    def tokenize(self, sample: Sample) -> TokenizedSample:
        return self._runner.run(self.client.tokenize(sample))

    def close(self) -> None:
        self._runner.run(self.client.aclose())
        self._runner.close()


SCORERS: dict[str, type[SyncScorer | AsyncScorer]] = {
    cls.kind: cls for cls in (SyncScorer, AsyncScorer)
}
