"""Score a batch, and find the samples that make a server refuse it; no server names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import SERVER_FAILURES, Transport
from reward_client._server.requests import MAY_BE_ANOTHER_SERVER, Scorable, score_batch
from reward_client._server.state import ServerState
from reward_client._tokenization import Tokenized
from reward_client.errors import (
    BadRequestError,
    EngineDeadError,
    InputError,
    RateLimitedError,
    ResponseMismatchError,
    RewardClientError,
    RewardTimeoutError,
    ServerUnreachableError,
    ShapeError,
    TransportError,
)
from reward_client.heads import Scores

Outcomes: TypeAlias = list[Scores | RewardClientError]

_REFUSALS = (BadRequestError, ResponseMismatchError, ShapeError)
"""Errors of a whole request that mostly one sample in it causes."""

_CAUSED_BY_NO_SAMPLE = (
    EngineDeadError,
    InputError,
    RateLimitedError,
    RewardTimeoutError,
    ServerUnreachableError,
)
"""Errors of a whole request after which none is sent for its parts: the server is away or busy, or
a part may kill it again."""


async def score_each(
    transport: Transport, state: ServerState, samples: Sequence[Scorable]
) -> Outcomes:
    """Return the scores of each sample, or the refusal that it causes.

    Raises:
        RewardClientError: If the server refuses all samples, and none of them causes it.
    """
    outcomes = await _score_or_refusal(transport, state, samples)
    if isinstance(outcomes, RewardClientError):
        if len(samples) == 1 or await _refuses_probe(transport, state, outcomes):
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
    except RewardClientError as error:
        if state.engine.dies_of_requests and isinstance(error, TransportError):
            raise  # a part may kill it again
        if not _may_be_of_a_sample(error):
            raise
        return error


async def _refuses_probe(
    transport: Transport, state: ServerState, error: RewardClientError
) -> bool:
    """Return True if the server refuses even what it took during discovery."""
    if state.request.sends == "text":
        return not isinstance(error, _REFUSALS)
    probe = Tokenized(TokenIds.of(state.probes[0]), 0, None)
    outcomes = await _score_or_refusal(transport, state, [probe])
    return isinstance(outcomes, RewardClientError)


def _may_be_of_a_sample(error: RewardClientError) -> bool:
    """Return True if a sample may be the reason, in the words of whoever stands before the server.

    A failure of the server that did not last is not worth a search.
    """
    if isinstance(error, SERVER_FAILURES) and not error.attempts:
        return False
    return not isinstance(error, _CAUSED_BY_NO_SAMPLE)
