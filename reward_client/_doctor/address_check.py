"""Look for several unlike servers behind one address, such as a balancer over two models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TypeVar, cast

from reward_client._doctor.report import Finding, failed, not_checked, ok
from reward_client._protocols.http import Transport
from reward_client._server.identity import identify
from reward_client._server.state import ServerState, is_same, score_tolerance

T = TypeVar("T")

_ASKED = 8
"""Requests at the same time, each on a connection of its own."""


async def one_server(transport: Transport, state: ServerState) -> Finding:
    """Ask what is served, and score the probes again, several times at once.

    Raises:
        RewardClientError: As `identify`, `Transport.send` and `ScoringRequest.read`.
    """
    request = state.request
    if request.sends != "ids":
        return not_checked("one server", "This version scores only text.")
    identities = await _at_once(lambda: identify(transport, state.options.model))
    others = {each for each in identities if each != state.identity}
    if others:
        named = ", ".join(sorted({each.root or each.model for each in others}))
        return _unlike(f"it also serves {named} (or another version or length limit)")
    body = request.build(state.model, state.probes)
    responses = await _at_once(lambda: transport.send(body))
    tolerance = score_tolerance(state.provenance)
    unlike = 0
    for response in responses:
        outputs = request.read(response, state.probes)
        scores = [value for output in outputs for value in output.values]
        unlike += not is_same(scores, state.scores, tolerance)
    if unlike:
        return _unlike(f"{unlike} of {_ASKED} requests got other rewards for the same samples")
    return ok("one server", f"{_ASKED} connections lead to the same model with the same rewards.")


async def _at_once(ask: Callable[[], Coroutine[None, None, T]]) -> list[T]:
    """Ask on several connections, and wait for all answers, also if one is an error."""
    answers = await asyncio.gather(*(ask() for _ in range(_ASKED)), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return cast("list[T]", answers)


def _unlike(observation: str) -> Finding:
    return failed(
        "one server",
        f"Unlike servers share this address: {observation}.",
        "Give each server an address of its own, and the client all of them: base_url=[…].",
    )
