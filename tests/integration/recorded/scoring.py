"""Scoring what a recording holds, with the real client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from reward_client import AsyncRewardClient, Reward, Sample

from .recording import Recording

# float32 arithmetic of two engines, over values of about one; the recordings agree to 1e-5.
TOLERANCE = 1e-4

T = TypeVar("T")


def score(recording: Recording, sample: Sample | None = None, **options: Any) -> Reward:
    """The reward of one sample: of the first conversation, if none is named."""
    wanted = recording.conversations[0] if sample is None else sample
    return _run(recording, lambda client: client.score(wanted), **options)


def score_all(recording: Recording, **options: Any) -> list[Reward]:
    """The rewards of all conversations, in order."""
    return _run(recording, lambda client: client.score_many(recording.conversations), **options)


def _run(
    recording: Recording, work: Callable[[AsyncRewardClient], Awaitable[T]], **options: Any
) -> T:
    async def main() -> T:
        url = "http://recorded"
        # One of the conversations has no answer, and one holds control tokens.
        every = {"on_unanswered": "allow", "on_control_tokens": "allow", **options}
        async with AsyncRewardClient(url, transport=recording.transport(), **every) as client:
            return await work(client)

    try:
        return asyncio.run(main())
    finally:
        # What was not recorded proves nothing, whatever the client made of its refusal.
        assert recording.unrecorded == []
