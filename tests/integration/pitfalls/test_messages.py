"""`method=Messages()`: the server tokenizes, and the rewards are those of the token IDs."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import httpx
import pytest

from reward_client import (
    BadRequestError,
    Conversation,
    FormattedText,
    InputError,
    Limits,
    ResponseMismatchError,
    StepHead,
)
from reward_client.methods import Messages
from reward_client.testing import RewardServer
from reward_client.testing._model.sum_judge import STEP_TOKEN

from ...support.either import OPENERS, EitherClient, Kind
from ...support.fake_vllm import CHAT_TOKENS, FakeVllm, is_look

TOLERANCE = 1e-4  # two float32 computations of the same sums, in other company
FIRST, EVERY = 8, 64

QUESTION = {"role": "user", "content": "What is 37 + 45?"}
CHATS = [[QUESTION, {"role": "assistant", "content": f"It is {number}."}] for number in range(150)]
FEWER = CHATS[:80]


@pytest.fixture(params=list(OPENERS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@contextmanager
def client_of(kind: Kind, server: RewardServer, **options: Any) -> Iterator[EitherClient]:
    with closing(OPENERS[kind](server.url, **options)) as client:
        yield client


def by_ids(kind: Kind, server: RewardServer, samples: list[Any]) -> list[float]:
    with client_of(kind, server) as client:
        return [reward.value for reward in client.score_many(samples)]


def asked(server: RewardServer, path: str, *, since: int = 0) -> list[dict[str, Any]]:
    return [request.json for request in server.requests[since:] if request.path == path]


@pytest.mark.parametrize(
    ("dialect", "head", "path", "most"),
    [
        ("0.32", "export", "/v1/embeddings", 32),
        ("0.25", "export", "/v1/embeddings", 32),
        ("0.12", "export", "/v1/embeddings", 1),
        ("0.32", "sequence", "/pooling", 1),
        ("0.12", "sequence", "/pooling", 1),
    ],
)
def test_the_rewards_are_those_of_the_token_ids(
    kind: Kind, dialect: str, head: str, path: str, most: int
) -> None:
    with RewardServer(version=dialect, head=head) as server:
        expected = by_ids(kind, server, FEWER)
        since = len(server.requests)
        with client_of(kind, server, method=Messages()) as client:
            rewards = client.score_many(FEWER)
        for reward, value in zip(rewards, expected, strict=True):
            assert reward.value == pytest.approx(value, abs=TOLERANCE)
        sent = [body["messages"] for body in asked(server, path, since=since) if "messages" in body]
        batcher = [len(each) if isinstance(each[0], list) else 1 for each in sent]
        assert max(batcher) == most
        told = [reward for reward in rewards if reward.token_count is not None]
        compared = len(told) + most if most > 1 else 0  # in a batch, and in a full one
        assert sum(batcher) == len(FEWER) + compared
        assert FIRST <= len(told) <= FIRST + len(FEWER) // EVERY
        tokenized = asked(server, "/tokenize", since=since)
        chats = [body for body in tokenized if "messages" in body and not is_look(body)]
        assert len(chats) == len(told)
        assert all(reward.token_digest is None for reward in rewards if reward not in told)
        assert rewards[0].provenance.tokenizer == "server, with the messages"


def test_other_samples_are_sent_as_token_ids(kind: Kind) -> None:
    samples = [
        [1, 5, 6],
        FormattedText("<|bos|>4"),
        Conversation(CHATS[0], tools=[{"type": "function", "function": {"name": "add"}}]),
        Conversation(CHATS[0], chat_template_kwargs={"x": 1}),
        [{"role": "assistant", "content": [{"type": "text", "text": "2+2?"}]}],
    ]
    with RewardServer(head="export") as server:
        expected = by_ids(kind, server, samples)
        since = len(server.requests)
        with client_of(kind, server, method=Messages()) as client:
            rewards = client.score_many(samples)
        assert [reward.value for reward in rewards] == pytest.approx(expected, abs=TOLERANCE)
        assert None not in {reward.token_count for reward in rewards}
        assert not [b for b in asked(server, "/v1/embeddings", since=since) if "messages" in b]


def test_one_bad_conversation_spoils_no_other(kind: Kind) -> None:
    samples = [*FEWER[:20], [QUESTION, {"role": "assistant", "content": "no " * 3000}], *FEWER[20:]]
    with (
        RewardServer(head="export") as server,
        client_of(kind, server, method=Messages()) as client,
    ):
        outcomes = client.score_many(samples, on_error="return")
        assert isinstance(outcomes.pop(20), BadRequestError)
        assert [reward.value for reward in outcomes] == pytest.approx(
            by_ids(kind, server, FEWER), abs=TOLERANCE
        )


@pytest.mark.parametrize("limit", [1, 7])
def test_no_more_in_a_request_than_the_limits(kind: Kind, limit: int) -> None:
    with (
        RewardServer(head="export") as server,
        client_of(kind, server, method=Messages(), limits=Limits(max_batch_items=limit)) as client,
    ):
        assert len(client.score_many(CHATS[:40])) == 40
        sent = [b["messages"] for b in asked(server, "/v1/embeddings") if "messages" in b]
    assert max(len(each) if isinstance(each[0], list) else 1 for each in sent) == limit


@pytest.mark.parametrize(
    ("options", "serves", "hint"),
    [
        ({"bos": True}, {"head": "export"}, "one BOS token"),
        ({}, {"head": "token"}, "the last of its tokens' values"),
        (
            {"head": StepHead(step_token=STEP_TOKEN, good_label=1, aggregate="min")},
            {"head": "export-steps"},
            "step tokens",
        ),
    ],
)
def test_models_that_need_more_are_refused(
    kind: Kind, options: dict[str, Any], serves: dict[str, Any], hint: str
) -> None:
    with (
        RewardServer(**serves) as server,
        client_of(kind, server, method=Messages(), **options) as client,
        pytest.raises(InputError, match=hint),
    ):
        client.score(CHATS[0])


@pytest.mark.parametrize("kind", OPENERS)
def test_turns_cannot_be_dropped(kind: Kind) -> None:
    with pytest.raises(InputError, match="drop_turns"):
        OPENERS[kind]("http://vllm", method=Messages(), on_overlong="drop_turns")


@pytest.mark.parametrize("method", ["messages", Messages, 5])
def test_what_is_no_method(method: Any) -> None:
    with pytest.raises(InputError, match="method= must be"):
        OPENERS["sync"]("http://vllm", method=method)


class Tampering:
    """A vLLM with an exported head that makes other tokens, or values, of messages."""

    def __init__(self) -> None:
        self.fake = FakeVllm(
            paths=["/tokenize", "/v1/embeddings", "/v1/models"], before=self.answer
        )
        self.extra_tokens = 0
        self.shift = 0.0

    def answer(self, request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/v1/embeddings":
            return None
        body = json.loads(request.content)
        if "input" in body:
            values = [len(ids) - 5.5 for ids in body["input"]]
            tokens = sum(map(len, body["input"]))
        else:
            chats = (
                body["messages"] if isinstance(body["messages"][0], list) else [body["messages"]]
            )
            values = [len(CHAT_TOKENS) - 5.5 + self.shift for _ in chats]
            tokens = (len(CHAT_TOKENS) + self.extra_tokens) * len(chats)
        data = [
            {"index": index, "embedding": base64.b64encode(struct.pack("<f", value)).decode()}
            if body["encoding_format"] == "base64"
            else {"index": index, "embedding": [value]}
            for index, value in enumerate(values)
        ]
        usage = {"prompt_tokens": tokens}
        named = {"id": f"embd-{request.headers['x-request-id']}", "model": "judge"}
        return httpx.Response(200, json={**named, "data": data, "usage": usage})


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(("tokens", "shift"), [(1, 0.0), (-1, 0.0), (0, 0.5), (0, -3.0)])
def test_another_prompt_or_another_value_is_an_error(kind: Kind, tokens: int, shift: float) -> None:
    tampering = Tampering()
    tampering.extra_tokens, tampering.shift = tokens, shift
    options = {"method": Messages(), "transport": tampering.fake.transport()}
    with closing(OPENERS[kind]("http://vllm", **options)) as client:
        outcomes = client.score_many(CHATS, on_error="return")
    assert {type(outcome) for outcome in outcomes} == {ResponseMismatchError}


@pytest.mark.parametrize("kind", OPENERS)
def test_a_gateway_that_has_only_embeddings(kind: Kind) -> None:
    tampering = Tampering()
    tampering.fake.paths = None

    def answer(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/pooling":
            return httpx.Response(404, json={"detail": "Not Found"})
        return tampering.answer(request)

    tampering.fake.before = answer
    with closing(OPENERS[kind]("http://vllm", transport=tampering.fake.transport())) as client:
        assert client.score([7, 8, 9]).value == 3 - 5.5
        (profile,) = client.servers()
    assert profile.route == "embeddings"


@pytest.mark.parametrize("kind", OPENERS)
def test_a_difference_that_comes_later_is_noticed(kind: Kind) -> None:
    tampering = Tampering()
    options = {"method": Messages(), "transport": tampering.fake.transport()}
    with closing(OPENERS[kind]("http://vllm", **options)) as client:
        assert client.score_many(CHATS[:FIRST])
        tampering.shift = 1.0
        outcomes = client.score_many(CHATS[FIRST : 2 * EVERY], on_error="return")
        assert ResponseMismatchError in {type(outcome) for outcome in outcomes}
        # From then on nothing is believed that is not compared.
        outcomes = client.score_many(CHATS[:EVERY], on_error="return")
        assert {type(outcome) for outcome in outcomes} == {ResponseMismatchError}
