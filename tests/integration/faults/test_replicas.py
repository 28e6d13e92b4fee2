"""Replicas that die and come back under a run: on real sockets, and as real processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from reward_client import (
    BatchError,
    Limits,
    ReplicaMismatchError,
    RetryPolicy,
    ServerUnreachableError,
    Timeouts,
)
from reward_client._replicas import pool as fleet_module

from ...support import raw_server
from ...support.either import OPENERS, EitherClient, Kind
from ...support.raw_server import (
    CONVERSATION,
    Action,
    Exchange,
    RawServer,
    Request,
    answer,
    body_of,
    expected,
    response,
    reward_of,
    then_reset,
)
from .conftest import Connect

ROOT = Path(__file__).parents[3]


class Process:
    """A server in a process that can be killed and started again on its port."""

    def __init__(self) -> None:
        self._port = "0"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", raw_server.__name__, self._port, "0.04"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self._port = self.url.rpartition(":")[2]

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    with ExitStack() as running:
        servers = [Process() for _ in range(4)]
        for server in servers:
            running.callback(server.kill)
        yield servers


@pytest.mark.parametrize("kind", OPENERS)
def test_one_of_four_is_killed_and_comes_back(
    kind: Kind,
    processes: list[Process],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is lost, doubled or in another order."""
    caplog.set_level("INFO", logger="reward_client")
    monkeypatch.setattr(fleet_module, "RESTART_SECONDS", 0.05)
    victim = processes[2]
    is_back = threading.Event()
    samples = [[place, 5, place // 1000] for place in range(100_000)]

    def endless() -> Iterator[list[int]]:
        """Goes on until the victim has work again, and for a while."""
        killer = threading.Thread(target=kill_and_start)
        for place, sample in enumerate(samples):
            if place == 3000:
                killer.start()
            yield sample
            if place % 2000 == 0 and "is back in rotation" in caplog.text:
                break
        killer.join()

    def kill_and_start() -> None:
        victim.kill()
        time.sleep(0.2)
        victim.start()
        is_back.set()

    options = {"limits": Limits(max_batch_items=8)}
    urls = [server.url for server in processes]
    with closing(OPENERS[kind](urls, **options)) as client:
        results = list(client.stream(endless()))
        assert len(client.servers()) == 4
    assert is_back.is_set()
    assert f"{victim.url} is out of rotation" in caplog.text
    assert [result.index for result in results] == list(range(len(results)))
    assert 3000 < len(results) < len(samples)
    assert [result.error for result in results if result.error] == []
    values = [result.reward.value for result in results if result.reward]
    assert values == [reward_of(sample) for sample in samples[: len(results)]]


@pytest.fixture
def servers() -> Iterator[list[RawServer]]:
    with ExitStack() as running:
        yield [running.enter_context(RawServer(answer)) for _ in range(3)]


def opened(connect: Connect, servers: list[RawServer], **options: object) -> EitherClient:
    client = connect([server.url for server in servers], **options)
    client.servers()
    for server in servers:
        server.forget()
    return client


def deadly(request: Request) -> Action:
    """Ends the connection over a certain sample; all others get their answer."""
    if request.path == "/pooling" and b"[7,7,7]" in request.body:
        return then_reset(b"")
    return answer(request)


def test_a_sample_that_kills_is_sent_to_two(connect: Connect, servers: list[RawServer]) -> None:
    client = opened(connect, servers, limits=Limits(max_batch_items=1))
    for server in servers:
        server.answer = deadly
    samples = [[place, 1, 1] for place in range(30)]
    samples[13] = [7, 7, 7]
    outcomes = client.score_many(samples, on_error="return")
    for place, outcome in enumerate(outcomes):
        if place == 13:
            assert isinstance(outcome, Exception)
            assert "reset before the response" in str(outcome)
        else:
            assert outcome.value == pytest.approx(reward_of(samples[place]))
    killed = [server for server in servers if any(b"[7,7,7]" in r.body for r in server.requests)]
    assert len(killed) == 2


def test_all_are_gone(connect: Connect, servers: list[RawServer]) -> None:
    client = opened(connect, servers, limits=Limits(max_batch_items=1))
    enough = threading.Event()

    def stop() -> None:
        enough.wait(10)
        for server in servers:
            server.stop()

    def dying(request: Request) -> Action:
        if len(servers[0].requests) > 30:
            enough.set()
        return answer(request)

    stopper = threading.Thread(target=stop)
    stopper.start()

    for server in servers:
        server.answer = dying
    samples = [[place, 1, 1] for place in range(20_000)]
    started = time.monotonic()
    with pytest.raises(BatchError) as caught:
        client.score_many(samples)
    stopper.join()
    results = caught.value.results
    assert len(results) >= 50
    for result in results:
        assert result.reward is not None
        assert result.reward.value == pytest.approx(reward_of(samples[result.index]))
    outcomes = client.score_many(samples[:2000], on_error="return")
    assert {type(outcome) for outcome in outcomes} == {ServerUnreachableError}
    assert time.monotonic() - started < 20


def test_one_is_another_model(connect: Connect, servers: list[RawServer]) -> None:
    def shifted(request: Request) -> Action:
        if request.path != "/pooling":
            return answer(request)
        body = body_of(request)
        for item in body["data"]:  # type: ignore[attr-defined]
            item["data"] = [item["data"][0] * 1.1]
        return response(body)

    servers[1].answer = shifted
    client = connect([server.url for server in servers])
    with pytest.raises(ReplicaMismatchError, match="for the same sample") as caught:
        client.score(CONVERSATION)
    assert servers[1].url in str(caught.value)


def test_one_is_not_there(connect: Connect, servers: list[RawServer]) -> None:
    servers[0].stop()
    client = connect([server.url for server in servers], retry=RetryPolicy())
    for _ in range(10):
        assert client.score(CONVERSATION).value == pytest.approx(expected())
    assert [profile.url for profile in client.servers()] == [server.url for server in servers[1:]]


def test_one_hangs(connect: Connect, servers: list[RawServer]) -> None:
    """What it was asked is asked of another one, once its deadline has passed."""
    client = opened(connect, servers, timeout=Timeouts(read=0.5))

    async def silent(exchange: Exchange) -> None:
        await exchange.until_gone()

    for server in servers[:1]:
        server.answer = lambda request: silent
    samples = [[place, 1, 1] for place in range(300)]
    values = [reward.value for reward in client.score_many(samples)]
    assert values == pytest.approx([reward_of(sample) for sample in samples])
