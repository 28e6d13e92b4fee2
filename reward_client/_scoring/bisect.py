"""Score a batch, and find the samples that make a server refuse it; no server names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Transport
from reward_client._replicas.pool import MAY_BE_ANOTHER_SERVER
from reward_client._server.requests import Scorable, score_batch, score_tokens
from reward_client._server.state import ServerState
from reward_client._tokenization import Tokenized
from reward_client.errors import (
    BadRequestError,
    ResponseMismatchError,
    RewardClientError,
    ShapeError,
)
from reward_client.heads import Scores

Outcomes: TypeAlias = list[Scores | RewardClientError]

_REFUSALS = (BadRequestError, ResponseMismatchError, ShapeError)
"""Errors of a whole request that one sample in it may cause."""


async def score_each(
    transport: Transport, state: ServerState, samples: Sequence[Scorable]
) -> Outcomes:
    """Return the scores of each sample, or the refusal that it causes.

    Raises:
        RewardClientError: If the server refuses all samples, and none of them causes it.
    """
    outcomes = await _score_or_refusal(transport, state, samples)
    if isinstance(outcomes, RewardClientError):
        if len(samples) == 1 or await _refuses_probe(transport, state):
            raise outcomes
        outcomes = await _bisect(transport, state, samples)
    if any(isinstance(outcome, MAY_BE_ANOTHER_SERVER) for outcome in outcomes):
        transport.mark_lost()
    return outcomes


async def _bisect(
    transport: Transport, state: ServerState, samples: Sequence[Scorable]
) -> Outcomes:
    """Return the outcomes of samples that were refused together.

    If the first half holds no culprit, the second one does, and is not sent as a whole: at most two
    requests for each culprit and halving.
    """
    if len(samples) == 1:
        outcomes = await _score_or_refusal(transport, state, samples)
        return [outcomes] if isinstance(outcomes, RewardClientError) else outcomes
    middle = (len(samples) + 1) // 2
    first, second = samples[:middle], samples[middle:]
    outcomes = await _score_or_refusal(transport, state, first)
    if not isinstance(outcomes, RewardClientError):
        return [*outcomes, *await _bisect(transport, state, second)]
    scored = await _split_refused(transport, state, first, outcomes)
    outcomes = await _score_or_refusal(transport, state, second)
    if isinstance(outcomes, RewardClientError):
        outcomes = await _split_refused(transport, state, second, outcomes)
    return [*scored, *outcomes]


async def _split_refused(
    transport: Transport,
    state: ServerState,
    samples: Sequence[Scorable],
    refusal: RewardClientError,
) -> Outcomes:
    """Return the outcomes of samples that this refusal answered; a single one causes it."""
    return [refusal] if len(samples) == 1 else await _bisect(transport, state, samples)


async def _score_or_refusal(
    transport: Transport, state: ServerState, samples: Sequence[Scorable]
) -> Outcomes | RewardClientError:
    """Score samples; return the error instead of raising it if one sample may have caused it."""
    try:
        return await score_batch(transport, state, samples)
    except _REFUSALS as refusal:
        return refusal


async def _refuses_probe(transport: Transport, state: ServerState) -> bool:
    """Return True if the server refuses even what it took during discovery."""
    if state.request.sends == "text":
        return False
    probe = Tokenized(TokenIds.of(state.probes[0]), 0, None)
    try:
        await score_tokens(transport, state, [probe])
    except _REFUSALS:
        return True
    return False
