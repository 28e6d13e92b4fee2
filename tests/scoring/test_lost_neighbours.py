"""A gateway that refuses one sample in its own words, and what becomes of those beside it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pytest

from reward_client import AuthenticationError, RetryPolicy, Reward, RewardClientError

from ..support.either import OPENERS, Kind
from ..support.raw_server import (
    Action,
    Answer,
    RawServer,
    Request,
    answer,
    http,
    response,
    reward_of,
    sending,
    then_closed,
    then_reset,
)

QUICK = RetryPolicy(max_wait=0.01)
PAGE = b"<html><h1>Request blocked</h1></html>"
TYPED = {"error": {"message": "Refused.", "type": "policy_violation"}}
REFUSALS: Mapping[str, Action] = {
    "403": sending(http(PAGE, 403)),
    "401": sending(http(PAGE, 401)),
    "404": sending(http(PAGE, 404)),
    "451": sending(http(PAGE, 451)),
    "501": sending(http(PAGE, 501)),
    "a page": sending(http(PAGE)),
    "a redirect": sending(http(PAGE, 302, {"location": "/blocked"})),
    "fin": then_closed(b""),
    "rst": then_reset(b""),
    "cut": then_closed(http(b"{", length=9)),
    **{f"typed {status}": response(TYPED, status) for status in (500, 502, 503, 520)},
    **{f"{status}": sending(http(PAGE, status)) for status in (500, 502, 503, 520)},
}
SAMPLES = [[5, n, 7] for n in range(32)]
BAD = 19


def outcomes(kind: Kind, server: RawServer, gateway: Answer) -> list[Any]:
    with closing(OPENERS[kind](server.url, retry=QUICK)) as client:
        client.servers()
        server.forget()
        server.answer = gateway
        return client.score_many(SAMPLES, on_error="return")


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_12_one_refused_sample_fails_alone_in_any_words(kind: Kind, refusal: Action) -> None:
    def gateway(each: Request) -> Action:
        is_bad = each.path == "/pooling" and SAMPLES[BAD] in each.json["input"]
        return refusal if is_bad else answer(each)

    with RawServer(answer) as server:
        found = outcomes(kind, server, gateway)
    assert isinstance(found[BAD], RewardClientError)
    for n in {*range(len(SAMPLES))} - {BAD}:
        assert isinstance(found[n], Reward)
        assert found[n].value == reward_of(SAMPLES[n])


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("status", [401, 403])
def test_12_a_refused_key_costs_two_requests_a_pack(kind: Kind, status: int) -> None:
    with RawServer(answer) as server:
        found = outcomes(kind, server, lambda _: sending(http(PAGE, status)))
        asked = len(server.seen("/pooling"))
    assert {type(each) for each in found} == {AuthenticationError}
    assert asked == 2
