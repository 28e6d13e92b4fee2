"""The known traps between a conversation and its reward, over real HTTP, by both clients.

Each test would give a plausible, wrong number (or a dead server) without its cure. Traps that only
recordings or a scripted server can show are in `tests/wire`, `tests/unit` and `tests/faults`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from reward_client import (
    ActivationError,
    Conversation,
    FormattedText,
    InputError,
    NonFiniteRewardError,
    PromptTooLongError,
    ProtocolError,
    RateLimitedError,
    ResponseMismatchError,
    RetryPolicy,
    RewardClientError,
    RouteNotFoundError,
    ServerError,
    TransportError,
)
from reward_client.testing import Fault, RewardServer

from ..either import OPENERS, EitherClient

CHAT = [
    {"role": "user", "content": "What is 37 + 45?"},
    {"role": "assistant", "content": "The answer is 82."},
]
WRONG = [CHAT[0], {"role": "assistant", "content": "The answer is 92."}]
# The server's model and the reference run the same float32 arithmetic in another order.
TOLERANCE = 1e-4
QUICK = RetryPolicy(attempts=3, max_wait=0.01)

Connect = Callable[..., EitherClient]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    with ExitStack() as opened:

        def open_client(server: RewardServer, **options: Any) -> EitherClient:
            client = OPENERS[request.param](server.url, retry=QUICK, **options)
            return opened.enter_context(closing(client))

        yield open_client


def served(server: RewardServer, path: str) -> list[Any]:
    return [request.json for request in server.requests if request.path == path]


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
        with pytest.raises(RouteNotFoundError, match="No route of this server"):
            connect(server, route="embeddings").score(CHAT)


def test_1_no_generation_prompt(connect: Connect) -> None:
    with RewardServer() as server:
        connect(server).score(CHAT)
        (body,) = [body for body in served(server, "/tokenize") if "messages" in body]
        assert body["add_generation_prompt"] is False
        assert body["continue_final_message"] is False


def test_2_no_sigmoid(connect: Connect) -> None:
    with RewardServer(dialect="0.32") as server:
        reward = connect(server).score(CHAT)
        assert reward.value > 1
        assert {body["use_activation"] for body in served(server, "/pooling")} == {False}
        assert reward.provenance.activation_known_by == "request"


def test_3_a_softmax_over_one_label(connect: Connect) -> None:
    with RewardServer(dialect="0.8") as server:
        client = connect(server)
        for call in (client.score, client.tokenize):
            with pytest.raises(ActivationError, match='"softmax": false'):
                call(CHAT)
        with pytest.raises(ActivationError):
            connect(server, server_activation="none").score(CHAT)


def test_4_and_6_exactly_the_keys_of_the_version(connect: Connect) -> None:
    with RewardServer(dialect="0.32") as server:
        connect(server).score(CHAT)
        bodies = served(server, "/pooling")
        keys = {"model", "input", "encoding_format", "task", "use_activation"}
        assert all(body.keys() == keys for body in bodies)
    with RewardServer(dialect="0.8", raw=True) as server:
        connect(server).score(CHAT)
        bodies = served(server, "/v1/embeddings")
        assert all(body.keys() == {"model", "input", "encoding_format"} for body in bodies)


def test_9_base64_where_float_breaks(connect: Connect) -> None:
    with RewardServer(dialect="0.8", head="token") as server:
        connect(server).score(CHAT)
        bodies = served(server, "/v1/embeddings")
        assert {body["encoding_format"] for body in bodies} == {"base64"}


def test_10_a_doubled_bos_is_counted(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        ids = client.tokenize(CHAT).token_ids
        doubled = [ids[0], *ids]
        counts = {
            "chat": client.score(CHAT).bos_count,
            "doubled": client.score(doubled).bos_count,
            "none": client.score(list(ids[1:])).bos_count,
        }
        assert counts == {"chat": 1, "doubled": 2, "none": 0}


def test_formatted_text_gets_no_second_bos(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        ids = client.tokenize(CHAT).token_ids
        text = server_text(server, ids)
        assert client.tokenize(FormattedText(text)).token_ids == ids
        assert client.score(FormattedText(text)) == client.score(CHAT)


def server_text(server: RewardServer, ids: tuple[int, ...]) -> str:
    import httpx

    body = {"model": "sum-judge", "tokens": list(ids)}
    text = httpx.post(f"{server.url}/detokenize", json=body).json()["prompt"]
    assert isinstance(text, str)
    return text


def test_11_too_long_is_refused_before_it_is_sent(connect: Connect) -> None:
    with RewardServer(max_model_len=64) as server:
        client = connect(server)
        client.servers()
        before = len(served(server, "/pooling"))
        for sample in ([{"role": "user", "content": "long " * 100}], [5] * 65):
            with pytest.raises(PromptTooLongError, match="the server takes 64"):
                client.score(sample)
        assert client.score([5] * 64).token_count == 64
        assert len(served(server, "/pooling")) == before + 1


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


def test_13_items_are_put_in_order_by_their_index(connect: Connect) -> None:
    """The probes are eight items of one reply, each with a length that its values must fit."""
    with RewardServer(head="token") as server:
        right = connect(server).score(CHAT)
        server.inject(Fault.shuffled_index(), path="/pooling", times=2)
        assert connect(server).score(CHAT) == right
        for fault in (Fault.missing_item(), Fault.doubled_index()):
            server.inject(Fault.shuffled_index(), path="/pooling")  # task classify is refused
            server.inject(fault, path="/pooling")
            with pytest.raises(ResponseMismatchError, match="Items asked for: 8"):
                connect(server).score(CHAT)


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        (Fault.reset(), TransportError, 1 + 3),  # the first reset costs no attempt
        (Fault.cut(), TransportError, 3),
        (Fault.status(429), RateLimitedError, 3),
        (Fault.status(500), ServerError, 3),
        (Fault.html(502), ServerError, 3),
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
        assert len(caught.value.attempts) == requests - 1
        assert caught.value.endpoint == f"POST {server.url}/pooling"
        assert len(served(server, "/pooling")) == asked + requests
        assert client.score(CHAT) == right


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
    ("2 MB of text", [{"role": "user", "content": "82 " * 700_000}]),
    ("an id beyond the vocabulary", [5, 10**6]),
    ("an unknown role", [{"role": "\u202eresu", "content": "82"}]),
]


@pytest.mark.parametrize("bad", [row[1] for row in BAD_INPUT], ids=[row[0] for row in BAD_INPUT])
def test_bad_input_is_a_typed_error_and_its_neighbours_keep_their_rewards(
    connect: Connect, bad: Any
) -> None:
    with RewardServer() as server:
        client = connect(server)
        outcomes = client.score_many([CHAT, bad, WRONG], on_error="return")
        alone = [client.score(CHAT), client.score(WRONG)]
        assert [outcomes[0], outcomes[2]] == alone
        assert isinstance(outcomes[1], RewardClientError)
        assert len(str(outcomes[1])) < 1000


def test_tools_and_template_arguments_reach_the_template(connect: Connect) -> None:
    with RewardServer() as server:
        client = connect(server)
        tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
        arguments = {"enable_thinking": False}
        client.score(Conversation(CHAT, tools=tools, chat_template_kwargs=arguments))
        (body,) = [body for body in served(server, "/tokenize") if "messages" in body]
        assert (body["tools"], body["chat_template_kwargs"]) == (tools, arguments)
