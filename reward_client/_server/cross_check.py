"""Requests that compare a server with itself: other orders of the probes, and later times."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import cycle, islice
from typing import NamedTuple, TypeVar

from reward_client._base.together import Together, together
from reward_client._base.wording import list_numbers
from reward_client._protocols.http import Response, Transport
from reward_client._protocols.pooled_output import PooledOutput
from reward_client._protocols.scoring_request import Encoding
from reward_client._protocols.tokenizing import tokenize_text
from reward_client._server.agreement import main_number, may_be_same, ranges_of
from reward_client._server.memory import Remembered
from reward_client._server.offset import constant_offset
from reward_client._server.probes import cut_probes, text_probes, twins_of
from reward_client._server.requests import (
    WRONG_ADDRESSEE,
    ChatPrompt,
    OtherModelError,
    Scorable,
    pooled_outputs,
    score_batch,
    send,
)
from reward_client._server.state import ServerState, is_same, score_tolerance
from reward_client._server.template_look import renders_as_before
from reward_client._server.texts import PROBE_TEXT
from reward_client._tokenization import Tokenized
from reward_client.errors import (
    ProtocolError,
    ResponseMismatchError,
    RewardClientError,
    ShapeError,
)
from reward_client.heads import Scores

# The tolerance between the values of one sample in two requests, as a share of the range of
# different samples' values: an engine's rounding moves them less, another sample's value lies
# further away.
_BATCH_TOLERANCE = 0.1
_CHANGE_TOLERANCE = 0.05
"""The same for one model at two times: nearly equal checkpoints may follow each other."""
_TURN = 3
_SECONDS = 5.0
"""For the requests of samples that are scored again. Without a response they prove nothing."""

T = TypeVar("T")


class _Rows(NamedTuple):
    """A request: its inputs, their token IDs, and the known output of each."""

    inputs: Sequence[Sequence[int] | str]
    ids: Sequence[Sequence[int]]
    expected: Sequence[PooledOutput | None]


_OTHER_ENCODING: dict[Encoding, Encoding] = {"base64": "float", "float": "base64"}


async def cross_check(transport: Transport, state: ServerState) -> None:
    """Score the probes in another order and one of them alone, and compare with the first values.

    A server or a gateway may exchange the rows of a request, or only those of large ones: the
    other order fills the largest request of the client. It may exchange rows of equal length, or
    rows of an incomplete block: other samples of the same lengths go along, and a further request
    is odd. A gateway may also rewrite the numbers of an exported head, so the one probe is scored
    in the other encoding there.

    Raises:
        ResponseMismatchError: If the values differ.
        OtherModelError: If a response names another model.
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    inputs, ids = await _inputs(transport, state)
    full, odd = (_rows_of(state, inputs, ids, size) for size in _sizes(state))
    async with Together() as group:
        in_full = group.create_task(_pooled(transport, state, full.inputs, full.ids))
        in_odd = group.create_task(_pooled(transport, state, odd.inputs, odd.ids))
        by_itself = group.create_task(_alone(transport, state, inputs[-1], ids[-1]))
    single, alone = by_itself.result()
    manner = f"alone, as {_encoding_alone(state)}"
    _compare(state, single, [alone], state.outputs[-1:], manner)
    _compare(state, *in_full.result(), full.expected, "in another order")
    _compare(state, *in_odd.result(), odd.expected, f"among {len(odd.ids)}")


def _sizes(state: ServerState) -> tuple[int, int]:
    return max(len(state.probes), state.options.pack_size), 2 * len(state.probes) - 1


async def difference(transport: Transport, state: ServerState) -> str | None:
    """Return what the server does otherwise than at its discovery; None if it does the same.

    Several requests at once go over several connections: unlike servers may share an address.

    Raises:
        RewardClientError: As `Transport.send` and `ScoringRequest.read`.
    """
    inputs, ids = await _inputs(transport, state)
    full, odd = (_rows_of(state, inputs, ids, size) for size in _sizes(state))
    batches = (full, full, odd)
    async with Together() as group:
        text = group.create_task(_tokenizes_as_before(transport, state))
        conversation = group.create_task(_renders_as_before(transport, state))
        answers = group.create_task(
            together(_pooled(transport, state, each.inputs, each.ids) for each in batches)
        )
    if not text.result() or not conversation.result():
        return f"the same {'conversation' if text.result() else 'text'} becomes other token IDs"
    found = (
        _changed(state, outputs, batch.expected)
        for batch, (_, outputs) in zip(batches, answers.result(), strict=True)
    )
    return next((each for each in found if each is not None), None)


async def scores_as_before(transport: Transport, state: ServerState) -> bool:
    """Return False if the probes get other values than at the discovery, in one request.

    Raises:
        RewardClientError: As `Transport.send`.
    """
    try:
        inputs, ids = await _inputs(transport, state)
        _, outputs = await _pooled(transport, state, inputs, ids)
    except (OtherModelError, *WRONG_ADDRESSEE):
        return False
    return _changed(state, outputs, state.outputs) is None


def _changed(
    state: ServerState, outputs: Sequence[PooledOutput], expected: Sequence[PooledOutput | None]
) -> str | None:
    for one, other in zip(outputs, expected, strict=True):
        if other is not None and not _agree(state, one, other, _CHANGE_TOLERANCE):
            return (
                f"the same tokens give {list_numbers(one.values[:3])} in the place of "
                f"{list_numbers(other.values[:3])}"
            )
    known = [pair for pair in zip(outputs, expected, strict=True) if pair[1] is not None]
    if state.offset is None:
        return None
    shift = constant_offset(
        [one.values for one, _ in known], [other.values for _, other in known if other]
    )
    return None if shift is None else f"all rewards are {shift:+.4g} higher: it was started again"


async def contradiction(
    transport: Transport, state: ServerState, remembered: Sequence[Remembered]
) -> str | None:
    """Score samples of a caller again, alone and together; return what contradicts their scores.

    The probes are always the same requests: a router may choose by content, and an exchange of rows
    may spare them. A sample that is not scored again proves nothing.
    """
    mixed = [
        [each for each in remembered if type(each.sample) is kind]
        for kind in (Tokenized, *[ChatPrompt] * (state.strategy.conversations is not None))
    ]
    batches = [*([each] for each in remembered), *(batch for batch in mixed if len(batch) > 1)]
    samples = ([each.sample for each in batch] for batch in batches)
    answers = await together(_again(transport, state, each) for each in samples)
    ranges = ranges_of(state, (scores for each in remembered for scores in each.batch))
    for batch, answer in zip(batches, answers, strict=True):
        for each, scores in zip(batch, answer, strict=True):
            if isinstance(scores, Scores) and not may_be_same(state, each.scores, scores, ranges):
                return (
                    f"one sample got {main_number(each.scores):.6g} among {len(each.batch)}, and "
                    f"gets {main_number(scores):.6g} "
                    f"{f'among {len(batch)}' if len(batch) > 1 else 'alone'} now"
                )
    return None


async def _again(
    transport: Transport, state: ServerState, samples: Sequence[Scorable]
) -> Sequence[Scores | RewardClientError | None]:
    try:
        async with asyncio.timeout(_SECONDS):
            return await score_batch(transport, state, samples)
    except (RewardClientError, TimeoutError):
        return [None] * len(samples)


async def _tokenizes_as_before(transport: Transport, state: ServerState) -> bool:
    if not state.rules.server_tokenizes:
        return True
    text = await tokenize_text(transport, state.served, PROBE_TEXT, add_special_tokens=False)
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
        return await text_probes(transport, state.served)
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


def _rows_of(
    state: ServerState,
    inputs: Sequence[Sequence[int] | str],
    ids: Sequence[Sequence[int]],
    size: int,
) -> _Rows:
    """Turn the probes, so that no exchange of places gives the same rows in both orders.

    Others of the same lengths follow, and then all of them again, up to a size.
    """
    # A server that takes nothing but text makes token IDs of other lengths of other texts.
    by_text = state.request.sends == "text"
    twins = () if by_text else twins_of(state.probes, state.rules.step)
    outputs = [*_turned(state.outputs), *[None] * len(twins)]
    return _Rows(
        _filled([*_turned(inputs), *twins], size),
        _filled([*_turned(ids), *twins], size),
        _filled(outputs, size),
    )


def _turned(items: Sequence[T]) -> list[T]:
    return [*items[_TURN:], *items[:_TURN]]


def _filled(items: Sequence[T], size: int) -> list[T]:
    return [*islice(cycle(items), size)]


def _compare(
    state: ServerState,
    response: Response,
    outputs: Sequence[PooledOutput],
    expected: Sequence[PooledOutput | None],
    manner: str,
) -> None:
    for one, other in zip(outputs, expected, strict=True):
        if other is not None and not _agree(state, one, other, _BATCH_TOLERANCE):
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
