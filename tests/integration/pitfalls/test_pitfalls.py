"""What holds across the pitfalls, over real HTTP, by both clients: the right reward or an error.

Each of the other files has the pitfalls of one kind, numbered as in the documentation.
"""

from __future__ import annotations

from typing import Any

import pytest

from reward_client import (
    Conversation,
    NonFiniteRewardError,
    ProtocolError,
    RateLimitedError,
    ResponseMismatchError,
    RewardClientError,
    RouteNotFoundError,
    ServerError,
    TransportError,
)
from reward_client.testing import Fault, RewardServer

from .conftest import Connect
from .samples import CHAT, TOLERANCE, WRONG, chats, served


@pytest.mark.parametrize("dialect", ["0.8", "0.32"])
@pytest.mark.parametrize("head", ["sequence", "token"])
def test_the_raw_reward_from_each_server_and_head(
    connect: Connect, dialect: str, head: Any
) -> None:
    with RewardServer(dialect=dialect, head=head, raw=dialect == "0.8") as server:
        client = connect(server)
        for chat in (CHAT, WRONG):
            reward = client.score(chat)
            ids = list(client.tokenize(chat).token_ids)
            assert reward.value == pytest.approx(server.reference(ids), abs=TOLERANCE)
            assert client.score(ids) == reward
        assert client.score(CHAT).value > 1
        assert client.score(WRONG).value < 0


@pytest.mark.parametrize("head", ["sequence", "token"])
def test_a_route_can_be_forced(connect: Connect, head: Any) -> None:
    with RewardServer(dialect="0.8", head=head, raw=True) as server:
        forced = connect(server, route="pooling").score(CHAT)
        found = connect(server).score(CHAT)
    assert (forced.provenance.route, found.provenance.route) == ("pooling", "embeddings")
    assert forced.value == pytest.approx(found.value, abs=TOLERANCE)
    with RewardServer(dialect="0.32", head=head) as server:
        assert connect(server, route="pooling").score(CHAT).provenance.route == "pooling"
        with pytest.raises(RouteNotFoundError, match="that route= names"):
            connect(server, route="embeddings").score(CHAT)


WRONG_REPLIES: list[tuple[str, Fault, type[RewardClientError] | None]] = [
    ("13 missing item", Fault.missing_item(), ResponseMismatchError),
    ("13 shuffled index", Fault.shuffled_index(), None),
    ("13 doubled index", Fault.doubled_index(), ResponseMismatchError),
    ("14 NaN", Fault.nan(), NonFiniteRewardError),
    ("14 null", Fault.null(), NonFiniteRewardError),
    ("15 wrong usage", Fault.wrong_usage(), ResponseMismatchError),
    ("truncated JSON", Fault.truncated_json(), ProtocolError),
    ("HTML with status 200", Fault.html(200), ProtocolError),
    ("HTML with status 502, then well", Fault.html(502), None),
    ("19 reset, then well", Fault.reset(), None),
    ("19 closed before the reply, then well", Fault.disconnect(), None),
    ("cut within the reply, then well", Fault.cut(), None),
    ("429 with Retry-After, then well", Fault.status(429, headers={"Retry-After": "0"}), None),
    ("500 with an empty body, then well", Fault.status(500), None),
    ("another model in the reply", Fault.other_model("other"), None),
    ("slow, then well", Fault.delay(0.2), None),
]


@pytest.mark.parametrize(
    ("fault", "kind"), [row[1:] for row in WRONG_REPLIES], ids=[row[0] for row in WRONG_REPLIES]
)
def test_a_wrong_reply_is_an_error_or_is_made_good(
    connect: Connect, fault: Fault, kind: type[RewardClientError] | None
) -> None:
    with RewardServer() as server:
        client = connect(server)
        right = client.score(CHAT).value
        server.inject(fault, path="/pooling")
        if kind is None:
            assert client.score(CHAT).value == right
        else:
            with pytest.raises(kind) as caught:
                client.score(CHAT)
            assert caught.value.endpoint == f"POST {server.url}/pooling"
            assert caught.value.request_id
        assert client.score(CHAT).value == right


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        (Fault.reset(), TransportError, 1 + 3),  # the first reset costs no attempt
        (Fault.cut(), TransportError, 3),
        (Fault.status(429), RateLimitedError, 3),
        # At the second failure one request that was answered before tells a refusal from a failure.
        (Fault.status(500), ServerError, 3 + 1),
        (Fault.html(502), ServerError, 3 + 1),
    ],
    ids=["reset", "cut", "429", "500", "502"],
)
def test_a_fault_that_goes_on_is_an_error(
    connect: Connect, fault: Fault, kind: type[RewardClientError], requests: int
) -> None:
    with RewardServer() as server:
        client = connect(server)
        right = client.score(CHAT)
        asked = len(served(server, "/pooling"))
        server.inject(fault, path="/pooling", times=requests)
        with pytest.raises(kind) as caught:
            client.score(CHAT)
        assert len(caught.value.attempts) == requests - 1 - (kind is ServerError)
        assert caught.value.endpoint == f"POST {server.url}/pooling"
        assert len(served(server, "/pooling")) == asked + requests
        assert client.score(CHAT) == right


def test_tools_and_template_arguments_reach_the_template(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
        arguments = {"enable_thinking": False}
        client.score(Conversation(CHAT, tools=tools, chat_template_kwargs=arguments))
        body, without, *_ = chats(server)
        assert "tools" not in without  # to prove that the template shows them
        assert (body["tools"], body["chat_template_kwargs"]) == (tools, arguments)
