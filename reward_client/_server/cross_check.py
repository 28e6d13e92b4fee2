"""Requests that compare a server with itself: other orders of the probes, and later times."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import cycle, islice
from typing import TypeVar

from reward_client._base.wording import list_numbers
from reward_client._protocols.http import Response, Transport
from reward_client._protocols.vllm import PooledOutput
from reward_client._protocols.vllm.scoring_request import Encoding
from reward_client._protocols.vllm.tokenize import tokenize_text
from reward_client._server.probes import cut_probes, text_probes
from reward_client._server.requests import pooled_outputs, send
from reward_client._server.state import ServerState, is_same, score_tolerance
from reward_client._server.template_look import renders_as_before
from reward_client._server.texts import PROBE_TEXT
from reward_client.errors import ProtocolError, ResponseMismatchError, ShapeError

# The tolerance between the values of one sample in two requests, as a share of the range of
# different samples' values: an engine's rounding moves them less, another sample's value lies
# further away.
_BATCH_TOLERANCE = 0.1
_CHANGE_TOLERANCE = 0.05
"""The same for one model at two times: nearly equal checkpoints may follow each other."""
_TURN = 3
_CONNECTIONS = 3

T = TypeVar("T")

_OTHER_ENCODING: dict[Encoding, Encoding] = {"base64": "float", "float": "base64"}


async def cross_check(transport: Transport, state: ServerState) -> None:
    """Score the probes in another order and one of them alone, and compare with the first values.

    A server or a gateway may exchange the rows of a request, or only those of large ones: the
    other order fills the largest request of the client. A gateway may also rewrite the numbers of
    an exported head, so the one probe is scored in the other encoding there.

    Raises:
        ResponseMismatchError: If the values differ.
        OtherModelError: If a response names another model.
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    inputs, ids = await _inputs(transport, state)
    (response, outputs), (single, alone) = await asyncio.gather(
        _pooled(transport, state, _turned(state, inputs), _turned(state, ids)),
        _alone(transport, state, inputs[-1], ids[-1]),
    )
    manner = f"alone, as {_encoding_alone(state)}"
    _compare(state, single, [alone], state.outputs[-1:], manner)
    _compare(state, response, outputs, _turned(state, state.outputs), "in another order")


async def difference(transport: Transport, state: ServerState) -> str | None:
    """Return what the server does otherwise than at its discovery; None if it does the same.

    Several requests at once go over several connections: unlike servers may share an address.

    Raises:
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    inputs, ids = await _inputs(transport, state)
    batches = (
        _pooled(transport, state, _turned(state, inputs), _turned(state, ids))
        for _ in range(_CONNECTIONS)
    )
    text, conversation, answers = await asyncio.gather(
        _tokenizes_as_before(transport, state),
        _renders_as_before(transport, state),
        asyncio.gather(*batches),
    )
    if not text or not conversation:
        return f"the same {'conversation' if text else 'text'} becomes other token IDs"
    expected = _turned(state, state.outputs)
    for _, outputs in answers:
        for one, other in zip(outputs, expected, strict=True):
            if not _agree(state, one, other, _CHANGE_TOLERANCE):
                return (
                    f"the same tokens give {list_numbers(one.values[:3])} in the place of "
                    f"{list_numbers(other.values[:3])}"
                )
    return None


async def _tokenizes_as_before(transport: Transport, state: ServerState) -> bool:
    if not state.rules.server_tokenizes:
        return True
    text = await tokenize_text(transport, state.model, PROBE_TEXT, add_special_tokens=False)
    return cut_probes(text, state.rules.step) == state.probes


async def _renders_as_before(transport: Transport, state: ServerState) -> bool:
    if not state.rules.server_tokenizes:
        return True
    opened = state.rules.generation_prompt
    return await renders_as_before(
        transport, state.identity, state.template, generation_prompt=opened
    )


async def _inputs(
    transport: Transport, state: ServerState
) -> tuple[Sequence[Sequence[int] | str], Sequence[Sequence[int]]]:
    """Return the probes as the server takes them, and as token IDs."""
    if state.request.sends == "text":
        return await text_probes(transport, state.model)
    return state.probes, state.probes


async def _pooled(
    transport: Transport,
    state: ServerState,
    inputs: Sequence[Sequence[int] | str],
    ids: Sequence[Sequence[int]],
) -> tuple[Response, list[PooledOutput]]:
    response, outputs = await pooled_outputs(
        transport, state.request, state.model, inputs, ids, state
    )
    return response, [_read(output) for output in outputs]


async def _alone(
    transport: Transport, state: ServerState, given: Sequence[int] | str, ids: Sequence[int]
) -> tuple[Response, PooledOutput]:
    request, other = state.request, _encoding_alone(state)
    if other == request.encoding:
        response, (output,) = await _pooled(transport, state, [given], [ids])
        return response, output
    response = await send(transport, request.build(state.model, [given], other), state)
    try:
        (output,) = request.read(response, [ids], other)
    except ShapeError:
        # The server ignores encoding_format: the value may be right.
        (output,) = request.read(response, [ids])
    return response, output


def _encoding_alone(state: ServerState) -> Encoding:
    encoding = state.request.encoding
    return _OTHER_ENCODING[encoding] if state.strategy.exported else encoding


def _read(output: PooledOutput | ProtocolError) -> PooledOutput:
    if isinstance(output, ProtocolError):
        raise output
    return output


def _turned(state: ServerState, items: Sequence[T]) -> list[T]:
    """Turn a list, so that no exchange of places gives the same rows in both orders.

    It is repeated up to the size of the largest request.
    """
    size = max(len(items), state.options.pack_size)
    return list(islice(cycle([*items[_TURN:], *items[:_TURN]]), size))


def _compare(
    state: ServerState,
    response: Response,
    outputs: Sequence[PooledOutput],
    expected: Sequence[PooledOutput],
    manner: str,
) -> None:
    for one, other in zip(outputs, expected, strict=True):
        if not _agree(state, one, other, _BATCH_TOLERANCE):
            raise response.error(
                ResponseMismatchError,
                f"Cannot trust this server: one sample gets {list_numbers(one.values[:3])} "
                f"{manner}, and {list_numbers(other.values[:3])} in a batch, as "
                f"{state.request.encoding}. A gateway changes the values, or the server mixes up "
                "the samples of a request. Connect to the server itself.",
            )


def _agree(state: ServerState, one: PooledOutput, other: PooledOutput, share: float) -> bool:
    """Return True if both may be values of the same sample."""
    rounding = share * (max(state.scores) - min(state.scores))
    return len(one.values) == len(other.values) and (
        is_same(one.values, other.values, score_tolerance(state.provenance))
        or all(
            abs(mine - theirs) <= rounding
            for mine, theirs in zip(one.values, other.values, strict=True)
        )
    )
