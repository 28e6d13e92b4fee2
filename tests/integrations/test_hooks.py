"""Each hook of a trainer as the trainer calls it, without the trainer: what a fault comes to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from reward_client import (
    InputError,
    ModelChangedError,
    RewardClient,
    RewardTimeoutError,
    ServerUnreachableError,
)
from reward_client._client import watch
from reward_client.integrations import areal, slime
from reward_client.integrations.ms_swift import RewardModel
from reward_client.integrations.trl import AsyncRewardFunction, RewardFunction
from reward_client.integrations.verl import compute_score
from reward_client.testing import RewardServer

from ..replicas.restarting import free_port
from .conftest import port_of

Hook = Callable[[Any], float | None]

ASKED = [{"role": "user", "content": "2 + 2?"}]


def by_trl(answer: Any) -> float | None:
    return RewardFunction()([ASKED], [answer])[0]


def by_trl_async(answer: Any) -> float | None:
    return asyncio.run(AsyncRewardFunction()([ASKED], [answer]))[0]


def by_ms_swift(answer: Any) -> float | None:
    chat = [*ASKED, {"role": "assistant", "content": answer}]
    return RewardModel()([answer], messages=[chat])[0]


def by_slime(answer: Any) -> float | None:
    sample: Any = SimpleNamespace(prompt=ASKED, response=answer, remove_sample=False)
    return asyncio.run(slime.reward(SimpleNamespace(), sample))


def by_areal(answer: Any) -> float | None:
    return areal.reward_fn("", answer, [1], [2], messages=ASKED)


def by_verl(answer: Any) -> float | None:
    return asyncio.run(compute_score("-", answer, "-", {"prompt": ASKED}))["score"]


HOOKS = [by_trl, by_trl_async, by_ms_swift, by_slime, by_areal, by_verl]


@pytest.fixture(params=HOOKS)
def hook(request: pytest.FixtureRequest) -> Iterator[Hook]:
    kept = (areal._options, areal._short_options, slime._options)
    for each in kept:
        each.cache_clear()
    yield request.param
    for each in kept:
        each.cache_clear()


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> str:
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", url)
    return url


def direct(url: str) -> float:
    with RewardClient(url) as client:
        return float(client.score([*ASKED, {"role": "assistant", "content": "4"}]))


def test_a_dead_server_is_one_error(
    hook: Hook, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARD_CLIENT_PATIENCE", "0.5")
    with pytest.raises((RewardTimeoutError, ServerUnreachableError), match=r"within 0\.5 s"):
        hook("4")


def test_a_restart_costs_time_only(hook: Hook, server: RewardServer, address: str) -> None:
    port = int(address.rpartition(":")[2])
    with RewardServer(port=port):
        assert hook("4") == pytest.approx(direct(server.url))
    again = RewardServer(port=port)
    timer = threading.Timer(0.5, again.__enter__)
    timer.start()
    try:
        assert hook("4") == pytest.approx(direct(server.url))
    finally:
        timer.join()
        again.__exit__(None, None, None)


def test_another_model_is_an_error(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_INTERVAL", 0)
    with RewardServer() as first:
        monkeypatch.setenv("REWARD_CLIENT_BASE_URL", first.url)
        port = port_of(first)
        hook("4")
    with (
        RewardServer(port=port, values=lambda ids: 1.0),
        pytest.raises(ModelChangedError, match="Another model answers"),
    ):
        hook("4")


@pytest.mark.parametrize("answer", [None, b"4", 4])
def test_no_answer_has_no_number(
    hook: Hook, answer: Any, server: RewardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that takes prefixes would score the prompt alone."""
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", server.url)
    monkeypatch.setenv("REWARD_CLIENT_ON_UNANSWERED", "allow")
    try:
        found = hook(answer)
    except InputError:
        return
    assert found is None


def test_what_the_policy_wrote_ends_with_its_words(
    hook: Hook, server: RewardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARD_CLIENT_BASE_URL", server.url)
    monkeypatch.setenv("REWARD_CLIENT_STRIP_REASONING", "think")
    answer = "<think>2 <think> and</think>\n\n4<|im_end|>\n<|endoftext|><|endoftext|>"
    assert hook(answer) == pytest.approx(direct(server.url))
