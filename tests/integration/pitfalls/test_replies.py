"""Replies that are well-formed and not the answer, errors in disguise, and inputs behind them."""

from __future__ import annotations

import json
import logging
import math
from typing import Any

import pytest

from reward_client import (
    BadRequestError,
    EngineDeadError,
    InputError,
    Limits,
    NonFiniteRewardError,
    ResponseMismatchError,
    RewardClientError,
    RouteNotFoundError,
)
from reward_client.testing import Fault, RewardServer

from ...support.altered import alter_replies
from ...support.fake_vllm import CHAT as FAKE_CHAT
from ...support.fake_vllm import FakeVllm
from ...support.raw_server import CONVERSATION, Exchange, RawServer, answer
from .conftest import Connect
from .samples import CHAT, WRONG

BAD_INPUT: list[tuple[str, Any]] = [
    ("a bare string", "What is 37 + 45?"),
    ("bytes", b"What is 37 + 45?"),
    ("None", None),
    ("an empty list", []),
    ("a single message", CHAT[0]),
    ("a message without role", [{"content": "82"}]),
    ("content that is a number", [{"role": "user", "content": 82}]),
    ("an image", [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]),
    ("a lone surrogate", [{"role": "user", "content": "\ud800"}]),
    ("NaN in a message", [{"role": "user", "content": "82", "weight": math.nan}]),
    ("a set in a message", [{"role": "user", "content": "82", "tags": {1}}]),
    ("500 kB of text", [{"role": "user", "content": "82 " * 170_000}]),
    ("an id beyond the vocabulary", [5, 10**6]),
    ("an unknown role", [{"role": "\u202eresu", "content": "82"}]),
]


@pytest.mark.parametrize("bad", [row[1] for row in BAD_INPUT], ids=[row[0] for row in BAD_INPUT])
def test_12_bad_input_is_a_typed_error_and_spares_its_neighbours(
    connect: Connect, bad: Any
) -> None:
    with RewardServer() as server:
        client = connect(server)
        outcomes = client.score_many([CHAT, bad, WRONG], on_error="return")
        alone = [client.score(CHAT), client.score(WRONG)]
        assert [outcomes[0], outcomes[2]] == alone
        assert isinstance(outcomes[1], RewardClientError)
        assert len(str(outcomes[1])) < 1000


def test_13_items_are_put_in_order_by_their_index(connect: Connect) -> None:
    """The probes are eight items of one reply, each with a length that its values must fit."""
    with RewardServer(head="token") as server:
        right = connect(server).score(CHAT)
    with RewardServer(head="token") as server:
        server.inject(Fault.shuffled_index(), path="/pooling", times=2)
        assert connect(server).score(CHAT) == right
    for fault in (Fault.missing_item(), Fault.doubled_index()):
        with RewardServer(head="token") as server:
            server.inject(Fault.shuffled_index(), path="/pooling")  # task classify is refused
            server.inject(fault, path="/pooling")
            with pytest.raises(ResponseMismatchError, match="8 items were requested"):
                connect(server).score(CHAT)


@pytest.mark.parametrize(
    ("dialect", "head", "path", "fault"),
    [
        ("0.8", "token", "/v1/embeddings", Fault.nan()),  # as the bits of base64
        ("0.10", "sequence", "/classify", Fault.nan()),
        ("0.10", "sequence", "/classify", Fault.null()),
        ("0.32", "token", "/pooling", Fault.nan()),
        ("0.32", "token", "/pooling", Fault.null()),
    ],
    ids=str,
)
def test_14_what_is_no_number_is_an_error(
    connect: Connect, dialect: str, head: Any, path: str, fault: Fault
) -> None:
    with RewardServer(dialect=dialect, head=head) as server:
        client = connect(server)
        right = client.score(CHAT)
        server.inject(fault, path=path)
        with pytest.raises(NonFiniteRewardError, match="dtype"):
            client.score(CHAT)
        assert client.score(CHAT) == right


def test_15_other_tokens_than_were_sent(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        right = client.score(CHAT)
        server.inject(Fault.wrong_usage(), path="/pooling")
        with pytest.raises(ResponseMismatchError, match="truncated"):
            client.score(CHAT)
        assert client.score(CHAT) == right


def test_28_a_route_that_is_mounted_and_not_served(connect: Connect) -> None:
    """Up to 0.17.1 it answers 200, with an error in the body."""
    with RewardServer(dialect="0.12") as server:
        with pytest.raises(RouteNotFoundError, match="that route= names") as caught:
            connect(server, route="embeddings").score(CHAT)
        assert "does not support Embeddings API" in caught.value.server_message


@pytest.mark.parametrize("form", ["nested", "flat", "bare"])
def test_28_an_error_of_status_200(connect: Connect, form: str) -> None:
    error = {"object": "error", "message": "Token id 5 is out", "type": "", "code": 400}
    body = {"nested": {"error": error}, "flat": error, "bare": {"error": "Token id 5 is out"}}[form]
    with RewardServer() as server:
        client = connect(server)
        client.servers()
        fault = Fault.status(200, body=json.dumps(body).encode())
        server.inject(fault, path="/pooling", times=4)
        with pytest.raises(RewardClientError) as caught:
            client.score(CHAT)
        if form != "bare":  # which does not say what kind of error it is
            assert type(caught.value) is BadRequestError
        assert "Token id 5 is out" in str(caught.value)


@pytest.mark.parametrize("said", [{}, {"success": False}, {"status": "error"}, {"data": None}])
def test_28_a_reply_without_rewards_fails_its_sample_alone(connect: Connect, said: Any) -> None:
    with RewardServer() as server:
        client = connect(server)
        samples = [[1, 5 + n, 7, 9, 11] for n in range(12)]
        expected = client.score_many(samples)
        alter_replies(server, "/pooling", replacing(said, for_token=samples[5][1]))
        before = len(server.requests)
        outcomes = client.score_many(samples, on_error="return")
        asked = len(server.requests) - before
    assert isinstance(outcomes[5], ResponseMismatchError)
    assert "no list 'data'" in str(outcomes[5])
    for n in {*range(12)} - {5}:
        assert outcomes[n] == expected[n]
    assert asked < 16


def replacing(said: Any, *, for_token: int) -> Any:
    """A change of the replies to requests with a token."""

    def change(request: Any, reply: dict[str, Any]) -> None:
        if any(for_token in ids for ids in request["input"]):
            reply.clear()
            reply.update(said)

    return change


def test_28_outputs_without_the_name_of_the_model(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        client.score(CHAT)
        unnamed = []

        def change(_: Any, reply: dict[str, Any]) -> None:
            if not unnamed:
                unnamed.append(reply.pop("model"))

        alter_replies(server, "/pooling", change)
        before = len(server.requests)
        client.score(CHAT)
        asked = [each.path for each in server.requests[before:]]
    assert "/v1/models" in asked


def test_28_a_dead_engine_of_status_200(connect: Connect) -> None:
    """As 0.16.0 answers."""
    message = "EngineCore encountered an issue. See stack trace (above) for the root cause."
    dead = {"error": {"message": message, "type": "InternalServerError", "code": 500}}
    with RewardServer(dialect="0.16") as server:
        client = connect(server)
        client.servers()
        server.inject(Fault.status(200, body=json.dumps(dead).encode()), path="/pooling", times=2)
        with pytest.raises(EngineDeadError, match="restart it"):
            client.score(CHAT)


def test_29_token_ids_are_checked_before_they_are_sent(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        client.servers()
        before = len(server.requests)
        wrong: Any
        for wrong in ([5, -1], [True], [1.0], [2**40], [math.nan], ["5"], [[5]]):
            with pytest.raises(InputError):
                client.score(wrong)
        assert len(server.requests) == before


def test_29_nor_does_the_server_make_the_client_send_one(connect: Connect) -> None:
    server = FakeVllm(chat_tokens=[1, -1, 5])
    with pytest.raises(RewardClientError, match="invalid token IDs"):
        connect(server).score(FAKE_CHAT)
    assert all(min(ids) >= 0 for body in server.asked("/pooling") for ids in body["input"])


@pytest.mark.parametrize("dialect", ["0.8", "0.12", "0.16", "0.25"])
def test_31_an_echoed_input_goes_nowhere(
    connect: Connect, dialect: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Validation errors repeat the body: the prompt, or its tokens."""
    caplog.set_level(logging.DEBUG)
    chat = [{"role": "assistant", "content": "my very private answer " * 2000, "name": "x" * 10}]
    with RewardServer(dialect=dialect, raw=True, max_model_len=10**6) as server:
        client = connect(server)
        client.servers()
        echo = [{"type": "missing", "msg": "Field required", "input": {"messages": chat}}]
        message = f"1 validation error: {echo}"
        body = json.dumps({"error": {"message": message, "code": 400}}).encode()
        server.inject(Fault.status(400, body=body), path="/tokenize")
        with pytest.raises(BadRequestError, match="Field required") as caught:
            client.score(chat)
        assert len(str(caught.value)) < 1000
        for text in (str(caught.value), repr(vars(caught.value)), caplog.text):
            assert "private" not in text


def test_31_an_error_is_not_read_to_its_end(connect: Connect) -> None:
    sent = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(b"HTTP/1.1 400 Whatever\r\nconnection: close\r\n\r\n")
        while True:
            await exchange.send(b"too bad " * 2**14)
            sent += 2**17

    with RawServer(answer) as server:
        client = connect(server)
        client.servers()
        server.plan("/pooling", endless)
        with pytest.raises(BadRequestError, match="too bad") as caught:
            client.score(CONVERSATION)
        assert len(str(caught.value)) < 1000
    assert sent < Limits().max_response_bytes / 2  # what the sockets hold back, and no more


def test_31_nothing_of_a_sample_is_logged(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = [{"role": "user", "content": "quokka"}, CHAT[1]]
    with RewardServer() as server:
        client = connect(server)
        client.score(secret)
        said = json.dumps({"error": {"message": "No room for 'quokka'", "code": 500}}).encode()
        server.inject(Fault.status(500, body=said), path="/pooling")
        client.score(secret)
        client.score_many([secret, secret * 500], on_error="return")
    ours = [record for record in caplog.records if record.name.startswith("reward_client")]
    assert [record for record in ours if "HTTP 500" in record.getMessage()]
    assert not [record for record in ours if "quokka" in repr(vars(record))]
