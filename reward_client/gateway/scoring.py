"""Samples in, outcomes out, as long as the caller is there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, TypeVar

from reward_client._base.results import Reward, ServerProfile
from reward_client._base.samples import FormattedText, Given, OpenedText, Sample
from reward_client._client.async_client import AsyncRewardClient
from reward_client.errors import BatchError, InputError, RewardClientError
from reward_client.gateway.contracts.contract import Outcome
from reward_client.gateway.one_model import OneModel

if TYPE_CHECKING:
    from starlette.requests import Request

T = TypeVar("T")

_CONVERSATION = (
    {"role": "user", "content": "What is 2 + 2?"},
    {"role": "assistant", "content": "4"},
)


class DisconnectedError(Exception):
    """The caller has left."""


async def while_connected(request: Request, work: Coroutine[object, object, T]) -> T:
    """Return the result of work. Stop it when the caller leaves.

    Raises:
        DisconnectedError: If the caller has left.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise DisconnectedError
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Scoring:
    """Scores the samples of all callers by one client, so that they share requests.

    Args:
        client: The client.
        model: The model of the start.
    """

    def __init__(self, client: AsyncRewardClient, model: OneModel) -> None:
        self._client = client
        self._model = model
        self._opening: tuple[tuple[ServerProfile, ...], bool] | None = None

    async def outcomes(self, samples: Sequence[Given]) -> list[Outcome]:
        """Return the outcome of each sample. One that could not be read is its own outcome.

        Raises:
            RewardClientError: If the servers cannot be asked at all, or if another model answers
                than at the start.
        """
        readable = [sample for sample in samples if not isinstance(sample, InputError)]
        if not readable:
            return [sample for sample in samples if isinstance(sample, InputError)]
        if any(isinstance(sample, OpenedText) for sample in readable):
            readable = await self._as_conversations_begin(readable)
        try:
            scored = await self._client.score_many(readable, on_error="return")
        except BatchError as error:
            cause = error.__cause__
            raise cause if isinstance(cause, RewardClientError) else error from None
        await self._model.check_rewards(scored)
        outcomes = iter(scored)
        return [sample if isinstance(sample, InputError) else next(outcomes) for sample in samples]

    async def _as_conversations_begin(self, samples: Sequence[Sample]) -> list[Sample]:
        """Let texts without their BOS begin as the conversations of the model do."""
        profiles = await self._client.servers()
        if self._opening is None or self._opening[0] != profiles:
            opening = await self._client.tokenize(_CONVERSATION)
            self._opening = profiles, opening.bos_count > 0
        if self._opening[1]:
            return [*samples]
        return [
            FormattedText(sample.text) if isinstance(sample, OpenedText) else sample
            for sample in samples
        ]


def server_fault(outcomes: Sequence[Outcome]) -> RewardClientError | None:
    """Return the first error that is no fault of its sample."""
    for outcome in outcomes:
        if not isinstance(outcome, Reward) and outcome.fault == "server":
            return outcome
    return None
