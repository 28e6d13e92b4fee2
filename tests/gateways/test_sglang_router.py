"""The client behind SGLang's router, which forwards some routes in its own forms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from typing import Any

import pytest

from reward_client import InputError, RewardClient, RouteNotFoundError
from reward_client.methods import YesNo
from reward_client.testing import RewardServer

from ..support.either import OPENERS, EitherClient, Kind
from .conftest import sglang_router

if find_spec("sglang_router") is None:
    pytest.skip("nox -s gateways installs sglang-router", allow_module_level=True)

QUESTION = {"role": "user", "content": "What is 37 + 45?"}
CHATS: list[Any] = [
    [QUESTION, {"role": "assistant", "content": f"The answer is {n}."}] for n in range(60, 90)
]


@pytest.fixture(params=OPENERS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


def opened(kind: Kind, url: str, **options: Any) -> closing[EitherClient]:
    return closing(OPENERS[kind](url, **options))


@pytest.fixture(scope="module")
def workers() -> Iterator[list[RewardServer]]:
    with RewardServer(engine="sglang") as one, RewardServer(engine="sglang") as other:
        yield [one, other]


@pytest.fixture(scope="module")
def behind(workers: list[RewardServer]) -> Iterator[str]:
    with sglang_router([each.url for each in workers]) as url:
        yield url


def test_rewards_of_a_classifier(kind: Kind, workers: list[RewardServer], behind: str) -> None:
    with (
        RewardClient(workers[0].url) as direct,
        opened(kind, behind, tokenizer=RewardServer.checkpoint) as client,
    ):
        expected = [reward.value for reward in direct.score_many(CHATS)]
        rewards = client.score_many(CHATS)
    assert [reward.value for reward in rewards] == expected
    assert {reward.provenance.route for reward in rewards} == {"embeddings"}
    assert {reward.provenance.engine for reward in rewards} == {"sglang"}


def test_no_id_past_the_vocabulary_reaches_a_server(kind: Kind, behind: str) -> None:
    """The router names the engine in no answer, and the servers would die."""
    with opened(kind, behind, tokenizer=RewardServer.checkpoint) as client:
        with pytest.raises(InputError, match="vocabulary"):
            client.score([5, 6, 70_000])
        assert client.score([5, 6, 7]).value is not None


def test_without_a_tokenizer_the_error_names_it(kind: Kind, behind: str) -> None:
    with (
        opened(kind, behind) as client,
        pytest.raises(RouteNotFoundError, match="Give the model's tokenizer as tokenizer="),
    ):
        client.score(CHATS[0])


def test_yes_or_no(kind: Kind) -> None:
    method = YesNo(yes="8", no="9")
    with (
        RewardServer(engine="sglang", logprobs="processed_logprobs") as writer,
        sglang_router([writer.url]) as url,
        RewardClient(writer.url, method=method) as direct,
        opened(kind, url, method=method, tokenizer=RewardServer.checkpoint) as client,
    ):
        assert client.score(CHATS[0]).value == pytest.approx(direct.score(CHATS[0]).value, abs=1e-4)
