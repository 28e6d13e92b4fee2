"""The synchronous client where blocking code lives: threads, notebooks, forks, Ctrl-C, exit."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from reward_client import AsyncRewardClient, Limits, RewardClient, RewardClientError, Timeouts
from reward_client._client import core
from reward_client.testing import Fault, RewardServer

CHAT = [{"role": "user", "content": "What is 2 + 2?"}, {"role": "assistant", "content": "4"}]


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


def client_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "reward_client"]


def test_close_ends_the_thread_and_refuses_further_work(server: RewardServer) -> None:
    client = RewardClient(server.url)
    client.score(CHAT)
    assert len(client_threads()) == 1
    client.close()
    client.close()
    assert client_threads() == []
    with pytest.raises(RewardClientError, match="closed"):
        client.score(CHAT)
    assert client_threads() == []


def test_closing_an_unused_client() -> None:
    client = RewardClient("http://localhost:1")
    client.close()
    with pytest.raises(RewardClientError, match="closed"):
        client.servers()
    assert client_threads() == []


def test_a_forgotten_client_ends_its_thread(
    server: RewardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "LINGER_SECONDS", 0.1)
    client = RewardClient(server.url)
    client.score(CHAT)
    del client
    gc.collect()
    for thread in client_threads():
        thread.join(5)
    assert client_threads() == []


def test_inside_a_running_event_loop(server: RewardServer) -> None:
    async def cell() -> float:
        with RewardClient(server.url) as client:
            return client.score(CHAT).value

    with RewardClient(server.url) as client:
        assert asyncio.run(cell()) == client.score(CHAT).value


def test_shared_by_threads(server: RewardServer) -> None:
    with RewardClient(server.url) as client, ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: client.score(CHAT).value, range(64)))
        assert len(client_threads()) == 1
    assert len(set(values)) == 1


def test_closed_by_another_thread_during_a_call(server: RewardServer) -> None:
    client = RewardClient(server.url)
    client.score(CHAT)
    server.inject(Fault.delay(30), path="/pooling")
    with ThreadPoolExecutor(1) as pool:
        before = len(server.requests)
        waiting = pool.submit(client.score, CHAT)
        while not any(request.path == "/pooling" for request in server.requests[before:]):
            time.sleep(0.01)
        client.close()
        with pytest.raises(RewardClientError, match="closed during"):
            waiting.result(5)


def test_called_from_its_own_loop() -> None:
    """An iterator of samples that scores by the same client must not wait for itself."""
    with RewardClient("http://localhost:1") as client:

        async def inside() -> None:
            client.servers()

        with pytest.raises(RuntimeError, match="AsyncRewardClient"):
            client._run(inside())


def test_after_a_fork(server: RewardServer) -> None:
    script = f"""
        import os, sys
        from reward_client import RewardClient
        chat = {CHAT!r}
        client = RewardClient({server.url!r})
        before = client.score(chat).value
        child = os.fork()
        if child == 0:
            assert client.score(chat).value == before
            client.close()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        assert client.score(chat).value == before
        client.close()
        print("both")
    """
    assert run(script).stdout.strip() == "both"


def test_an_unclosed_client_lets_the_process_end(server: RewardServer) -> None:
    fork = "import os, warnings; warnings.simplefilter('ignore'); os.fork() or os._exit(0)"
    for end in ("pass", "raise SystemExit(0)", fork):
        script = f"""
            from reward_client import RewardClient
            client = RewardClient({server.url!r})
            client.score({CHAT!r})
            {end}
        """
        finished = run(script)
        assert (finished.stdout, finished.stderr) == ("", "")


def test_an_unclosed_client_with_requests_in_flight() -> None:
    with RewardServer() as server:
        script = f"""
            import sys, threading
            from reward_client import RewardClient
            client = RewardClient({server.url!r})
            client.score({CHAT!r})
            print("ready", flush=True)
            sys.stdin.readline()
            samples = [[dict(role="assistant", content=str(n))] for n in range(50)]
            busy = threading.Thread(target=lambda: client.score_many(samples), daemon=True)
            busy.start()
            sys.stdin.readline()
        """
        with started(script) as process:
            hold_scoring(server, process)
            process.stdin.write("end\n")
            process.stdin.flush()
            assert process.wait(20) == 0


@contextlib.contextmanager
def started(script: str) -> Iterator[subprocess.Popen[str]]:
    """A script under way; ended by its process id if the test does not."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            yield process
        finally:
            process.kill()


def hold_scoring(server: RewardServer, process: subprocess.Popen[str]) -> None:
    """Lets the script go on, and waits until its requests hang in the server."""
    server.inject(Fault.delay(60), path="/pooling", times=1000)
    before = len(server.requests)
    process.stdin.write("go\n")
    process.stdin.flush()
    while sum(request.path == "/pooling" for request in server.requests[before:]) < 2:
        time.sleep(0.01)


def run(script: str) -> subprocess.CompletedProcess[str]:
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished


@pytest.mark.parametrize("kind", [RewardClient, AsyncRewardClient])
def test_pickles_as_its_options(
    kind: type[RewardClient | AsyncRewardClient], server: RewardServer
) -> None:
    options = {"model": "sum-judge", "api_key": "k", "limits": Limits(max_concurrency=3)}
    client = kind(server.url, timeout=Timeouts(connect=5), **options)  # type: ignore[arg-type]
    if isinstance(client, RewardClient):
        client.score(CHAT)
    twin = pickle.loads(pickle.dumps(client))
    assert twin.__getstate__() == client.__getstate__()
    assert repr(twin) == repr(client)
    if isinstance(client, RewardClient):
        assert twin.score(CHAT) == client.score(CHAT)
        client.close()
        twin.close()


def test_rewards_pickle(server: RewardServer) -> None:
    with RewardClient(server.url) as client:
        rewards = client.score_many([CHAT, CHAT])
    assert pickle.loads(pickle.dumps(rewards)) == rewards


def test_two_event_loops_one_after_the_other(server: RewardServer) -> None:
    script = f"""
        import asyncio, gc
        from reward_client import AsyncRewardClient
        client = AsyncRewardClient({server.url!r})
        first = asyncio.run(client.score({CHAT!r}))
        second = asyncio.run(client.score({CHAT!r}))
        gc.collect()  # an unclosed session would say so here
        asyncio.run(client.aclose())
        gc.collect()
        print(first.value == second.value)
    """
    finished = run(script)
    assert (finished.stdout, finished.stderr) == ("True\n", "")


def test_ctrl_c_stops_what_is_in_flight() -> None:
    with RewardServer() as server:
        script = f"""
            import sys, threading
            from reward_client import RewardClient
            samples = [[dict(role="assistant", content=str(n))] for n in range(200)]
            with RewardClient({server.url!r}) as client:
                client.score({CHAT!r})
                print("ready", flush=True)
                sys.stdin.readline()
                try:
                    client.score_many(samples)
                except KeyboardInterrupt:
                    print("interrupted", client.tokenize({CHAT!r}).bos_count, flush=True)
            print([thread.name for thread in threading.enumerate()], flush=True)
        """
        with started(script) as process:
            hold_scoring(server, process)
            process.send_signal(signal.SIGINT)
            # The server holds its answers for 60 s: whoever waited for them would fail here.
            out, err = process.communicate(timeout=20)
    assert (out, err) == ("interrupted 1\n['MainThread']\n", "")
