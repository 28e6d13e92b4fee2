"""Scoring what a recording holds, with the real client."""

from __future__ import annotations

import asyncio
from typing import Any

from reward_client import AsyncRewardClient, Reward, Sample

from .recorded import Recording

# float32 arithmetic of two engines, over values of about one; the recordings agree to 1e-5.
TOLERANCE = 1e-4


def score(recording: Recording, sample: Sample | None = None, **options: Any) -> Reward:
    """The reward of one sample: of the first conversation, if none is named."""
    wanted = recording.conversations[0] if sample is None else sample

    async def main() -> Reward:
        async with _client(recording, **options) as client:
            return await client.score(wanted)

    return asyncio.run(main())


def score_all(recording: Recording, **options: Any) -> list[Reward]:
    """The rewards of all conversations, in order."""

    async def main() -> list[Reward]:
        async with _client(recording, **options) as client:
            return await client.score_many(recording.conversations)

    return asyncio.run(main())


def _client(recording: Recording, **options: Any) -> AsyncRewardClient:
    return AsyncRewardClient("http://recorded", transport=recording.transport(), **options)
