"""`TokenLogit`: one token's logit, from whichever server has it, and never a log-probability."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from reward_client import (
    ActivationError,
    AsyncRewardClient,
    BadRequestError,
    FormattedText,
    InputError,
    Limits,
    NonFiniteRewardError,
    PromptTooLongError,
    RewardClient,
    RouteNotFoundError,
    ShapeError,
)
from reward_client.methods import TokenLogit
from reward_client.testing import RewardServer

from ..support.altered import alter_replies, alter_requests
from ..support.either import OPENERS, EitherClient, Kind

TOLERANCE = 1e-4  # two float32 computations of the same sums, in other company
DIALECTS = ("0.10", "0.12", "0.16", "0.20", "0.25", "0.32", "0.33")
TOKEN = 57
COMPLETIONS = "/v1/completions"
NEMOTRON = "nvidia/Llama-3.3-Nemotron-70B-Reward"

CHATS = [
    [
        {"role": "user", "content": "What is 37 + 45?"},
        {"role": "assistant", "content": f"It is {number}."},
    ]
    for number in range(20)
]


@pytest.fixture(params=list(OPENERS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@contextmanager
def client_of(
    kind: Kind, server: RewardServer, token: int | str = TOKEN, **options: Any
) -> Iterator[EitherClient]:
    # Only a pooling server needs the word; it changes nothing elsewhere.
    method = TokenLogit(token, classifier_from_token=True)
    with closing(OPENERS[kind](server.url, method=method, **options)) as client:
        yield client


def expected(server: RewardServer, client: EitherClient, sample: Any, token: int = TOKEN) -> float:
    return server.reference_logits(list(client.tokenize(sample).token_ids))[token]


@pytest.mark.parametrize("mode", ["raw_logits", "processed_logits"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_reward_is_the_logit(kind: Kind, dialect: str, mode: Any) -> None:
    with (
        RewardServer(dialect=dialect, logprobs=mode) as server,
        client_of(kind, server, limits=Limits(max_batch_items=8)) as client,
    ):
        rewards = client.score_many(CHATS)
        for chat, reward in zip(CHATS, rewards, strict=True):
            assert reward.value == pytest.approx(expected(server, client, chat), abs=TOLERANCE)
        asked = [request.json for request in server.requests if request.path == "/v1/completions"]
        # How many share one depends on how quickly they are tokenized.
        assert max(len(body["prompt"]) for body in asked[2:]) > 1
        (profile,) = client.servers()
        provenance = rewards[0].provenance
        assert (profile.route, profile.activation_known_by) == ("completions", "probe")
        assert (provenance.route, provenance.method) == ("completions", f"logit of token {TOKEN}")


@pytest.mark.parametrize(
    ("dialect", "mode"),
    [
        ("0.8", "processed_logprobs"),
        *(
            (dialect, mode)
            for dialect in DIALECTS
            for mode in ("raw_logprobs", "processed_logprobs")
        ),
    ],
)
def test_a_log_probability_is_no_logit(kind: Kind, dialect: str, mode: Any) -> None:
    error = RouteNotFoundError if dialect == "0.8" else ActivationError
    with (
        RewardServer(dialect=dialect, logprobs=mode) as server,
        client_of(kind, server) as client,
        pytest.raises(error, match="--logprobs-mode raw_logits"),
    ):
        client.score(CHATS[0])


@pytest.mark.parametrize("head", ["sequence", "export"])
def test_a_pooling_server_has_it_as_its_head(kind: Kind, head: Any) -> None:
    with RewardServer(head=head) as server, client_of(kind, server) as client:
        ids = list(client.tokenize(CHATS[0]).token_ids)
        reward = client.score(CHATS[0])
        assert reward.value == pytest.approx(server.reference(ids), abs=TOLERANCE)
        assert reward.provenance.method == f"logit of token {TOKEN}"
        assert reward.provenance.route != "completions"


def test_the_token_as_text(kind: Kind) -> None:
    with RewardServer(logprobs="raw_logits") as server, client_of(kind, server, "~") as client:
        (token,) = client.tokenize(FormattedText("~")).token_ids
        assert client.score(CHATS[0]).value == pytest.approx(
            expected(server, client, CHATS[0], token), abs=TOLERANCE
        )


def test_a_text_of_several_tokens_is_no_token(kind: Kind) -> None:
    with (
        RewardServer(logprobs="raw_logits") as server,
        client_of(kind, server, "What is") as client,
        pytest.raises(InputError, match="tokens of this model"),
    ):
        client.score(CHATS[0])


def test_a_token_beyond_the_vocabulary(kind: Kind) -> None:
    with (
        RewardServer(logprobs="raw_logits") as server,
        client_of(kind, server, 10**6) as client,
        pytest.raises(BadRequestError, match="out-of-vocab"),
    ):
        client.score(CHATS[0])


@pytest.mark.parametrize("token", [-1, True, 1.5, "", None, 2**31])
def test_what_is_no_token(token: Any) -> None:
    with pytest.raises(InputError, match="TokenLogit needs a token"):
        TokenLogit(token)


@pytest.mark.parametrize("client", [RewardClient, AsyncRewardClient])
def test_it_says_what_is_read(client: Any) -> None:
    with pytest.raises(InputError, match="Leave them out"):
        client("http://127.0.0.1:1", method=TokenLogit(0), route="pooling")


def test_there_must_be_room_for_the_token(kind: Kind) -> None:
    with (
        RewardServer(logprobs="raw_logits", max_model_len=64) as server,
        client_of(kind, server) as client,
    ):
        longest = [5] * 63
        outcomes = client.score_many([longest, [*longest, 5], longest], on_error="return")
        assert isinstance(outcomes[1], PromptTooLongError)
        for outcome in (outcomes[0], outcomes[2]):
            assert outcome.value == pytest.approx(expected(server, client, longest), abs=TOLERANCE)


@pytest.mark.parametrize("dropped", ["allowed_token_ids", "return_tokens_as_token_ids", "logprobs"])
def test_a_gateway_that_drops_a_key(kind: Kind, dropped: str) -> None:
    with RewardServer(logprobs="raw_logits") as server, client_of(kind, server) as client:
        alter_requests(server, COMPLETIONS, lambda body: body.pop(dropped, None))
        with pytest.raises(ShapeError, match="no numbers of the requested kind"):
            client.score(CHATS[0])


def test_minus_infinity_is_no_reward(kind: Kind) -> None:
    def change(request: dict[str, Any], answer: dict[str, Any]) -> None:
        if "allowed_token_ids" in request:
            answer["choices"][0]["logprobs"]["token_logprobs"] = [-9999.0]

    with RewardServer(logprobs="raw_logits") as server, client_of(kind, server) as client:
        alter_replies(server, COMPLETIONS, change)
        with pytest.raises(NonFiniteRewardError):
            client.score(CHATS[0])


def test_by_recipe(kind: Kind) -> None:
    def named(request: dict[str, Any], reply: dict[str, Any]) -> None:
        if request.get("prompt") == "!":
            reply |= {"count": 1, "tokens": [0]}

    with (
        RewardServer(logprobs="raw_logits", root=NEMOTRON) as server,
        closing(OPENERS[kind](server.url)) as client,
    ):
        alter_replies(server, "/tokenize", named)
        reward = client.score(CHATS[0])
        assert reward.value == pytest.approx(expected(server, client, CHATS[0], 0), abs=TOLERANCE)
        assert reward.provenance.method == "logit of token 0"
        assert reward.provenance.recipe == "nemotron-70b-reward"


def test_ranking(kind: Kind) -> None:
    with RewardServer(logprobs="raw_logits") as server, client_of(kind, server) as client:
        ranking = client.rank("What is 1 + 1?", ["2", "11", "a fish"])
        values = [reward.value for reward in ranking.rewards]
        assert ranking.best_index == values.index(max(values))
