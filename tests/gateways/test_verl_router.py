"""The client behind verl's own reward router: a catch-all that makes a bare 500 of each error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from typing import Any

import pytest

from reward_client import BadRequestError, Conversation, ObjectiveHead, RewardClient, StepHead
from reward_client.testing import RewardServer

from ..support.either import OPENERS, EitherClient, Kind
from .conftest import verl_router

if find_spec("verl") is None:
    pytest.skip("nox -s gateways installs verl", allow_module_level=True)

QUESTION = {"role": "user", "content": "What is 37 + 45?"}
CHATS: list[Any] = [
    [QUESTION, {"role": "assistant", "content": f"The answer is {n}."}] for n in range(60, 100)
]
STEPS = StepHead(step_token=RewardServer.step_token, good_label=1, aggregate="min")


@pytest.fixture(params=OPENERS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


def opened(kind: Kind, url: str, **options: Any) -> closing[EitherClient]:
    return closing(OPENERS[kind](url, **options))


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as running:
        yield running


@pytest.fixture(scope="module")
def router(server: RewardServer) -> Iterator[str]:
    with verl_router(server.url) as url:
        yield url


@pytest.mark.parametrize(
    ("head", "options"),
    [
        ("token", {}),
        ("labels", {"head": ObjectiveHead(5)}),
        ("steps", {"head": STEPS}),
        ("export", {}),
    ],
)
def test_each_kind_of_model(kind: Kind, head: Any, options: dict[str, Any]) -> None:
    sample = Conversation([QUESTION], steps=["37 + 45.", "82."]) if head == "steps" else CHATS[0]
    with (
        RewardServer(head=head) as server,
        verl_router(server.url) as url,
        RewardClient(server.url, **options) as direct,
        opened(kind, url, **options) as client,
    ):
        expected, found = direct.score(sample), client.score(sample)
    assert found.scalar == expected.scalar
    assert found.objectives == expected.objectives
    assert found.steps == expected.steps


def test_many_samples(kind: Kind, server: RewardServer, router: str) -> None:
    with RewardClient(server.url) as direct, opened(kind, router) as client:
        expected = [reward.value for reward in direct.score_many(CHATS)]
        assert [reward.value for reward in client.score_many(CHATS)] == expected


def test_a_refused_sample_fails_alone(kind: Kind, server: RewardServer, router: str) -> None:
    with RewardClient(server.url) as direct, opened(kind, router) as client:
        lists: list[Any] = [direct.tokenize(chat).token_ids for chat in CHATS]
        lists[11] = [*lists[11], 10**6]
        expected = direct.score_many(lists, on_error="return")
        found = client.score_many(lists, on_error="return")
    assert isinstance(found.pop(11), BadRequestError)
    expected.pop(11)
    assert [reward.value for reward in found] == [reward.value for reward in expected]


def test_the_doctor(kind: Kind, router: str) -> None:
    with opened(kind, router) as client:
        assert [each for each in client.diagnose().findings if each.verdict == "failed"] == []
