"""The pooled outputs of token lists: in several requests, where one does not tell all numbers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from reward_client._protocols.http import Request, Response
from reward_client._protocols.vllm import MissingLogprobError, PooledOutput, ScoringRequest
from reward_client.errors import ProtocolError

Outputs: TypeAlias = list[PooledOutput | ProtocolError]


async def outputs_of(
    send: Callable[[Request], Awaitable[Response]],
    ask: ScoringRequest,
    model: str,
    inputs: Sequence[Sequence[int] | str],
    ids: Sequence[Sequence[int]],
) -> tuple[Response, Outputs]:
    """The pooled output of each token list, or why there is none, and the reply they came in.

    Args:
        send: Sends a request.
        ask: What is asked.
        model: The model's name.
        inputs: What is sent of each: the token list, or its text.
        ids: The token lists.

    Raises:
        RewardClientError: As `Transport.call`, and as `ScoringRequest.read_each`.
    """
    response = await send(ask.call(model, inputs))
    outputs: Outputs = ask.read_each(response, ids)
    untold = [
        place for place, output in enumerate(outputs) if isinstance(output, MissingLogprobError)
    ]
    if untold:
        # vLLM tells the number of a token that is the only one allowed, whatever its rank.
        left = [inputs[place] for place in untold]
        lists = [ids[place] for place in untold]
        singles = [replace(ask, tokens=(token,), names_tokens=False) for token in ask.tokens]
        responses = await asyncio.gather(*(send(single.call(model, left)) for single in singles))
        numbers = [
            single.read_each(each, lists) for single, each in zip(singles, responses, strict=True)
        ]
        for place, first, second in zip(untold, numbers[0], numbers[1], strict=True):
            outputs[place] = _difference(first, second, outputs[place])
    return response, outputs


def _difference(
    first: PooledOutput | ProtocolError,
    second: PooledOutput | ProtocolError,
    untold: PooledOutput | ProtocolError,
) -> PooledOutput | ProtocolError:
    """The difference of two numbers; what was untold stays so where they are of no use."""
    if isinstance(first, ProtocolError):
        return first
    if isinstance(second, ProtocolError):
        return second
    if first.values[0] == second.values[0] == 0:
        return untold  # the logarithms of 1: each is told among the allowed tokens alone
    return PooledOutput((first.values[0] - second.values[0],), None)
