"""Failures in training: left out, waited for, or one clear error; never a number that trains."""

from __future__ import annotations

import asyncio
import logging
import math
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from reward_client import (
    InputError,
    ModelChangedError,
    Reward,
    RewardClient,
    RewardClientError,
    RewardTimeoutError,
    ServerError,
)
from reward_client._client import watch
from reward_client._integrations.clients import (
    async_client_of,
    client_of,
    policy_text_of,
    score,
    score_async,
)
from reward_client._integrations.environment import Options, options_of
from reward_client._integrations.outcomes import BatchRewards, batch_rewards
from reward_client._integrations.policy_text import Rollout
from reward_client._replicas import monitor
from reward_client.methods import Verdict
from reward_client.testing import Fault, RewardServer

from ..replicas.restarting import free_port
from ..tokenization.test_retokenizer import tokenizer
from .conftest import port_of

Score = Callable[..., BatchRewards]

ANSWERS = ("4", "5", "6")
LONG = "1" * 3000


def conversation(answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": answer}]


def rollouts(*answers: str | InputError) -> list[Rollout]:
    return [
        Rollout(answer if isinstance(answer, InputError) else conversation(answer))
        for answer in answers
    ]


def options(url: str, **given: Any) -> Options:
    return options_of("f", {"patience": 30, **given}, url)


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Iterator[Score]:
    if request.param == "sync":
        yield score
        return
    with asyncio.Runner() as runner:
        yield lambda *args: runner.run(score_async(*args))


def direct(url: str, answers: Sequence[str]) -> list[float]:
    with RewardClient(url) as client:
        return [float(reward) for reward in client.score_many(map(conversation, answers))]


def test_rewards_are_those_of_a_client(server: RewardServer, run: Score) -> None:
    batch = run(options(server.url), rollouts(*ANSWERS))
    assert batch.values == direct(server.url, ANSWERS)
    assert batch.errors == [None] * 3
    assert batch.metrics()["mean"] == pytest.approx(sum(direct(server.url, ANSWERS)) / 3)


def test_a_call_with_one_sample_takes_no_request_for_the_model(run: Score) -> None:
    """Some frameworks ask for one sample a call, and a template may write today's date."""
    template = (
        "{{bos_token}}{% for m in messages %}<|{{m.role}}|>{{ strftime_now('%d %b %Y') }} "
        "{{m.content}}<|end|>{% endfor %}"
    )
    with RewardServer(chat_template=template) as server:
        given = options(server.url)
        run(given, rollouts("4"))
        before = len(server.requests)
        run(given, rollouts("5"))
        paths = [request.path for request in server.requests[before:]]
    assert len(paths) == 2, paths  # the tokens, and the reward


def test_no_rows_ask_nobody(run: Score) -> None:
    batch = run(options("http://127.0.0.1:9"), [])
    assert batch.values == []
    assert batch.metrics() == {"failed": 0.0, "seconds": batch.seconds}


@pytest.mark.parametrize("failed", [None, -10])
def test_a_fault_of_a_sample_leaves_it_out(
    failed: int | None, server: RewardServer, run: Score, caplog: pytest.LogCaptureFixture
) -> None:
    given = rollouts("4", LONG, InputError("No answer."), "5")
    batch = run(options(server.url, failed=failed), given)
    expected = direct(server.url, ["4", "5"])
    assert [batch.values[0], batch.values[3]] == expected
    for value in batch.values[1:3]:
        assert value == failed
    assert batch.rewards == expected
    assert batch.metrics()["failed"] == 0.5
    assert "2 of 4 samples failed: " in caplog.text
    assert "1 PromptTooLongError (fault: sample)" in caplog.text
    assert "No sample of this batch" not in caplog.text


def test_a_batch_of_failures_is_logged_with_the_reason(
    server: RewardServer, run: Score, caplog: pytest.LogCaptureFixture
) -> None:
    batch = run(options(server.url), rollouts(LONG, LONG))
    assert batch.values == [None, None]
    (record,) = [each for each in caplog.records if "No sample of this batch" in each.message]
    assert record.levelno == logging.WARNING
    assert "has 3010 tokens, but the server takes 1024" in record.message


def test_a_dead_server_is_one_clear_error(run: Score) -> None:
    with pytest.raises(RewardTimeoutError, match=r"No server was ready within 0\.5 s"):
        run(options(f"http://127.0.0.1:{free_port()}", patience=0.5), rollouts(*ANSWERS))


def test_81_a_fault_of_the_server_raises(server: RewardServer, run: Score) -> None:
    given = options(server.url, patience=1)
    run(given, rollouts("4"))
    server.inject(Fault.status(500), path="/pooling", times=10**6)
    server.inject(Fault.status(500), path="/classify", times=10**6)
    with pytest.raises(ServerError) as raised:
        run(given, rollouts(*ANSWERS, LONG))
    assert "3 of 4 samples have no reward by a fault of the server" in raised.value.__notes__[0]


def test_a_server_that_starts_later_costs_time_only(run: Score) -> None:
    port = free_port()
    later = RewardServer(port=port)
    timer = threading.Timer(1.5, later.__enter__)
    timer.start()
    try:
        batch = run(options(f"http://127.0.0.1:{port}"), rollouts(*ANSWERS))
    finally:
        timer.join()
        later.__exit__(None, None, None)
    assert None not in batch.values
    assert batch.seconds > 1


def test_a_restart_costs_time_only(run: Score) -> None:
    with RewardServer() as first:
        given, port = options(first.url), port_of(first)
        before = run(given, rollouts(*ANSWERS)).values
    again = RewardServer(port=port)
    timer = threading.Timer(1, again.__enter__)
    timer.start()
    try:
        assert run(given, rollouts(*ANSWERS)).values == before
    finally:
        timer.join()
        again.__exit__(None, None, None)


@pytest.mark.parametrize("change", [{"values": lambda ids: 1.0}, {"model_name": "other"}])
def test_83_another_model_behind_the_url_stops_the_run(
    change: Any, run: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_INTERVAL", 0)  # a proof at the end of each call
    with RewardServer() as first:
        given, port = options(first.url), port_of(first)
        run(given, rollouts(*ANSWERS))
    with (
        RewardServer(port=port, **change),
        pytest.raises(ModelChangedError, match="Another model answers"),
    ):
        run(given, rollouts(*ANSWERS))


@pytest.mark.parametrize("pauses", [[10.0], [3.0, 3.0]], ids=["a silence", "closed connections"])
@pytest.mark.parametrize(
    "change", [{"values": lambda ids: sum(ids) % 7 / 7}, {"model_name": "other"}]
)
def test_83_another_model_behind_the_url_stops_the_next_step(
    change: Any, pauses: Sequence[float], run: Score, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a proof at the end of a call, and without a request that fails meanwhile."""
    passed = [0.0]
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(passed))
    monkeypatch.setattr(monitor, "time", later)
    with RewardServer() as first:
        given, port = options(first.url), port_of(first)
        before = run(given, rollouts(*ANSWERS)).values
        for pause in pauses[:-1]:
            passed.append(pause)
            assert run(given, rollouts(*ANSWERS)).values == before
    passed.append(pauses[-1])
    with (
        RewardServer(port=port, **change),
        pytest.raises(ModelChangedError, match="Another model answers"),
    ):
        run(given, rollouts(*ANSWERS))


def test_a_server_of_another_version_with_the_same_model_goes_on(run: Score) -> None:
    with RewardServer(dialect="0.25") as first:
        given, port = options(first.url), port_of(first)
        before = run(given, rollouts(*ANSWERS)).values
    with RewardServer(dialect="0.32", port=port):
        assert run(given, rollouts(*ANSWERS)).values == pytest.approx(before, abs=1e-3)


def test_one_client_for_equal_options(server: RewardServer) -> None:
    given = options(server.url, headers={"x-team": "a"})
    again = pickle.loads(pickle.dumps(given))
    assert client_of(given) is client_of(again)
    assert async_client_of(given) is async_client_of(again)
    assert client_of(given) is not client_of(options(server.url))
    # Tokenizers that were pickled apart compare equal to none.
    held = options(server.url, policy_tokenizer=tokenizer("chatml"))
    again = pickle.loads(pickle.dumps(held))
    assert client_of(held) is client_of(again)
    assert policy_text_of(held) is policy_text_of(again)
    assert repr(client_of(given)).startswith("RewardClient(")


# Numbers


def reward_of(server: RewardServer) -> Reward:
    with RewardClient(server.url) as client:
        return client.score(conversation("4"))


def test_a_transform(server: RewardServer) -> None:
    reward, error = reward_of(server), InputError("No answer.")
    batch = batch_rewards([reward, error], failed=-1, transform=lambda each: 2 * float(each))
    assert batch.values == [2 * float(reward), -1]
    for wrong in (None, "4", True, math.nan, math.inf):
        with pytest.raises(InputError, match="transform= must return a"):
            batch_rewards([reward], failed=None, transform=lambda _, wrong=wrong: wrong)


def test_the_metrics_of_reasoning(server: RewardServer) -> None:
    reward = reward_of(server)
    batch = batch_rewards([reward, reward], failed=None, stripped=[0, 9], seconds=2)
    assert batch.metrics() == {
        "failed": 0.0,
        "seconds": 2,
        "mean": pytest.approx(float(reward)),
        "reasoning_stripped": 0.5,
    }


def test_the_first_fault_of_the_server_is_raised() -> None:
    given = [InputError("a"), ServerError("b", status=500), ModelChangedError("c")]
    with pytest.raises(RewardClientError, match="b") as raised:
        batch_rewards(given, failed=0)
    assert pickle.loads(pickle.dumps(raised.value)).__notes__ == raised.value.__notes__


def test_a_fork_scores_with_its_own_connections(server: RewardServer) -> None:
    import multiprocessing

    given = options(server.url)
    expected = score(given, rollouts(*ANSWERS)).values
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.starmap(score, [(given, rollouts(*ANSWERS))] * 4)
    assert [batch.values for batch in found] == [expected] * 4


def test_threads_share_the_client(server: RewardServer) -> None:
    given = options(server.url)
    found: list[list[float | None]] = []
    threads = [
        threading.Thread(target=lambda: found.append(score(given, rollouts(*ANSWERS)).values))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [direct(server.url, ANSWERS)] * 8


def test_patience_is_about_the_time(run: Score) -> None:
    began = time.monotonic()
    with pytest.raises(RewardTimeoutError):
        run(options(f"http://127.0.0.1:{free_port()}", patience=1), rollouts("4"))
    assert time.monotonic() - began >= 1


def test_a_judge_of_two_answers_is_refused(server: RewardServer, run: Score) -> None:
    judge = Verdict("([AB])", prompt="{response_a} {response_b}", values={"A": 1, "B": -1})
    for given in (
        options(server.url, method=judge),
        options(server.url, method=judge, head="auto"),
    ):
        with pytest.raises(InputError, match="a judge that compares two answers"):
            run(given, rollouts(*ANSWERS))
