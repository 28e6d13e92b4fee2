"""What is sent: only what a version knows, said explicitly, and never two contents at once."""

from __future__ import annotations

import itertools
import json
from contextlib import closing
from typing import Any

import httpx
import pytest

from reward_client import (
    AuthenticationError,
    Conversation,
    FormattedText,
    LinearHead,
    ObjectiveHead,
    RouteNotFoundError,
    StepHead,
)
from reward_client.recipes import Recipe
from reward_client.testing import RewardServer
from reward_client.testing.recording import RecordedRequest

from ...support.either import OPENERS
from ...support.fake_vllm import CHAT as FAKE_CHAT
from ...support.fake_vllm import CHAT_TOKENS, FakeVllm, embedding_server
from .conftest import Connect
from .samples import CHAT, SCORING, TOLERANCE, chats, served

DIALECTS = ("0.8", "0.10", "0.12", "0.16", "0.20", "0.25", "0.32", "0.33")
HEADS = ("sequence", "token", "steps", "embed")
PLAIN = {"model", "input", "encoding_format"}
RAW = {*PLAIN, "task", "use_activation"}


def test_1_no_generation_prompt(connect: Connect) -> None:
    with RewardServer() as server:
        connect(server).score(CHAT)
        (body,) = chats(server)
        assert body["add_generation_prompt"] is False
        assert body["continue_final_message"] is False


def test_1_unless_the_recipe_says_so(connect: Connect) -> None:
    wanted = {"name": "mine", "head": {"type": "scalar"}, "prompt": {"generation_prompt": True}}
    with RewardServer() as server:
        closed = connect(server).tokenize(CHAT).token_ids
        client = connect(server, recipe=Recipe.model_validate(wanted))
        opened = client.tokenize(CHAT).token_ids
        assert opened[: len(closed)] == closed != opened
        expected = server.reference(opened)
        assert client.score(CHAT).value == pytest.approx(expected, abs=TOLERANCE)
        body = served(server, "/tokenize")[-1]
        assert body["add_generation_prompt"] is True
        assert body["continue_final_message"] is False


def client_head(server: RewardServer, head: str) -> Any:
    if head == "steps":
        return StepHead(step_token=server.step_token, good_label=1, aggregate="min")
    if head == "embed":
        return LinearHead([0.5] * len(server.reference_values([5, 6]).hidden))
    return ObjectiveHead(5) if head == "labels" else "auto"


@pytest.mark.parametrize(
    ("dialect", "head", "path", "keys"),
    [
        ("0.8", "sequence", "/v1/embeddings", PLAIN),
        ("0.8", "token", "/v1/embeddings", PLAIN),
        ("0.8", "steps", "/v1/embeddings", PLAIN),
        ("0.10", "sequence", "/classify", {"model", "input", "activation"}),
        ("0.10", "token", "/pooling", PLAIN),
        ("0.10", "embed", "/v1/embeddings", {*PLAIN, "normalize"}),
        ("0.12", "sequence", "/pooling", RAW),
        ("0.12", "embed", "/v1/embeddings", {*PLAIN, "normalize"}),
        ("0.16", "sequence", "/pooling", RAW),
        ("0.16", "embed", "/v1/embeddings", {*PLAIN, "use_activation"}),
        ("0.20", "labels", "/pooling", RAW),
        ("0.25", "token", "/pooling", RAW),
        ("0.32", "sequence", "/pooling", RAW),
        ("0.32", "steps", "/pooling", RAW),
        ("0.32", "embed", "/v1/embeddings", {*PLAIN, "use_activation"}),
        ("0.20", "export", "/v1/embeddings", PLAIN),
        ("0.32", "export", "/pooling", RAW),
    ],
)
def test_6_exactly_the_keys_of_the_version(
    connect: Connect, dialect: str, head: Any, path: str, keys: set[str]
) -> None:
    """Later versions ignore the others in silence, or refuse them."""
    with RewardServer(dialect=dialect, head=head, raw=dialect == "0.8") as server:
        sample = Conversation(CHAT[:1], steps=["37 + 45 = 82."]) if head == "steps" else CHAT
        connect(server, head=client_head(server, head)).score(sample)
        assert {frozenset(body) for body in served(server, path)} == {frozenset(keys)}
        tokenized = {frozenset(body) for body in served(server, "/tokenize")}
        prompt = frozenset({"model", "prompt", "add_special_tokens"})
        chat = frozenset({"model", "messages", "add_generation_prompt", "continue_final_message"})
        looks = {chat | {"tools"}, chat | {"chat_template_kwargs"}}
        assert {prompt, chat} <= tokenized <= {prompt, chat, *looks}


# The fields of 0.6.4.post1's protocol.py that the client could want, and what is not among them.
OLD_KEYS = {
    "/tokenize": {
        "model",
        "prompt",
        "messages",
        "add_special_tokens",
        "add_generation_prompt",
        "continue_final_message",
    },
    "/v1/embeddings": {"model", "input", "encoding_format", "add_special_tokens"},
}


def test_6_the_first_versions_refuse_any_other_key(connect: Connect) -> None:
    def strict(request: httpx.Request) -> httpx.Response | None:
        known = OLD_KEYS.get(request.url.path)
        if known is None or json.loads(request.content).keys() <= known:
            return None
        message = "Extra inputs are not permitted"
        return httpx.Response(400, json={"object": "error", "message": message, "code": 400})

    server = embedding_server(version="0.6.4.post1", before=strict)
    server.paths = None
    assert connect(server).score(FAKE_CHAT).value == len(CHAT_TOKENS) - 5.5


def test_22_the_key_is_tested_where_the_server_looks_at_it(connect: Connect) -> None:
    """`/tokenize` and `/pooling` answer without one."""
    with RewardServer(api_key="sk-right") as server:
        for options in ({"api_key": "sk-wrong"}, {}):
            client = connect(server, model="sum-judge", **options)
            for call in (client.score, client.tokenize):
                with pytest.raises(AuthenticationError, match="api_key="):
                    call(CHAT)
        assert not served(server, "/tokenize", *SCORING)
        connect(server, api_key="sk-right").score(CHAT)
        assert all(
            request.headers["authorization"] == "Bearer sk-right"
            for request in server.requests
            if request.path in ("/tokenize", "/pooling")
        )


@pytest.fixture(scope="module", params=itertools.product(OPENERS, DIALECTS, HEADS), ids=str)
def sent(request: pytest.FixtureRequest) -> list[RecordedRequest]:
    """All that a client sends to a server, for every kind of sample."""
    kind, dialect, head = request.param
    options: Any = {"dialect": dialect, "head": head, "raw": True, "max_model_len": 256}
    with (
        RewardServer(**options) as server,
        closing(
            OPENERS[kind](server.url, head=client_head(server, head), on_overlong="drop_turns")
        ) as client,
    ):
        if head == "steps":
            client.score(Conversation(CHAT[:1], steps=["37 + 45 = 82."]))
        else:
            client.score(CHAT)
            client.score(FormattedText("<|bos|><|user|>Hi<|end|>"))
            client.score(client.tokenize(CHAT).token_ids)
            client.score(CHAT * 20)
        return [request for request in server.requests if request.method == "POST"]


def test_32_never_two_contents_in_one_body(sent: list[RecordedRequest]) -> None:
    """Up to 0.10 the one wins, from 0.12 on the other."""
    assert len(sent) >= 4
    for request in sent:
        assert len(request.json.keys() & {"messages", "input", "prompt", "tokens"}) == 1


def test_34_log_probabilities_are_never_requested(sent: list[RecordedRequest]) -> None:
    assert {request.path for request in sent} <= {"/tokenize", "/detokenize", *SCORING}
    keys = {key for request in sent for key in request.json}
    assert not [key for key in keys if "logprob" in key or "token_ids" in key]


def test_generative_scoring_is_never_requested(connect: Connect) -> None:
    """A server that has nothing else to offer is refused, and not asked."""
    others = {"/generative_scoring", "/v1/completions"}
    known = ("/v1/models", "/version", "/tokenize", "/detokenize")
    server = FakeVllm(paths=[*known, *others], serves=("/detokenize",))
    with pytest.raises(RouteNotFoundError, match="No route of this server gives a reward"):
        connect(server).score(FAKE_CHAT)
    assert not others & {path for path, _ in server.requests}
