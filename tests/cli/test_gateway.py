"""The gateway as a process: its start, its end, and what is wrong with its options."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from reward_client import AsyncRewardClient, cli
from reward_client.gateway import create_app
from reward_client.gateway.server import config_of, listening_socket
from reward_client.testing import Fault, RewardServer

from ..files.killing import COMMAND
from ..gateway.test_service import ROW, wait_for
from ..replicas.restarting import free_port

PROGRAM = [sys.executable, "-c", COMMAND, "gateway", "--port", "0"]


class Process:
    """A gateway in a process of its own.

    Attributes:
        url: The base URL.
        lines: The lines of its log so far.
    """

    def __init__(self, *arguments: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self.process = subprocess.Popen([*PROGRAM, *arguments], stderr=subprocess.PIPE, text=True)
        listening = self.read_until("listening")
        self.read_until("ready")
        self.url = f"http://127.0.0.1:{listening['port']}"

    def read_until(self, event: str) -> dict[str, Any]:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self.lines.append(json.loads(text))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(self.lines)

    def end(self) -> int:
        """Return the exit status, once the process has ended."""
        assert self.process.stderr is not None
        self.lines += map(json.loads, self.process.stderr)
        return self.process.wait(timeout=30)


@contextmanager
def running(*arguments: str) -> Iterator[Process]:
    gateway = Process(*arguments)
    try:
        yield gateway
    finally:
        gateway.process.kill()
        gateway.process.wait()
        assert gateway.process.stderr is not None
        gateway.process.stderr.close()


def post(gateway: Process, **options: Any) -> httpx.Response:
    return httpx.post(f"{gateway.url}/score", json=ROW, trust_env=False, timeout=60, **options)


def pooling(server: RewardServer) -> int:
    """Return the number of scoring requests so far."""
    return sum(request.path == "/pooling" for request in server.requests)


def test_a_second_ctrl_c_does_not_wait() -> None:
    with (
        RewardServer() as server,
        running("--url", server.url) as gateway,
        ThreadPoolExecutor() as pool,
    ):
        server.inject(Fault.delay(60), path="/pooling")
        before = pooling(server)
        request = pool.submit(post, gateway)
        wait_for(lambda: pooling(server) > before)
        gateway.process.send_signal(signal.SIGINT)
        wait_for(lambda: is_refused(gateway.url))
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.end() == 0
        assert request.result().status_code == 503
        assert request.result().json()["error"]["type"] == "Stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_in_flight_end(number: signal.Signals) -> None:
    with (
        RewardServer() as server,
        running("--url", server.url) as gateway,
        ThreadPoolExecutor() as pool,
    ):
        server.inject(Fault.delay(2), path="/pooling")
        before = pooling(server)
        request = pool.submit(post, gateway)
        wait_for(lambda: pooling(server) > before)
        gateway.process.send_signal(number)
        assert request.result().status_code == 200
        assert gateway.end() == 0
        assert gateway.lines[-1]["event"] == "stopped"
        with pytest.raises(httpx.ConnectError):
            post(gateway)


def test_the_end_is_bounded() -> None:
    with (
        RewardServer() as server,
        running("--url", server.url, "--grace", "1") as gateway,
        ThreadPoolExecutor() as pool,
    ):
        server.inject(Fault.delay(60), path="/pooling")
        before = pooling(server)
        request = pool.submit(post, gateway)
        wait_for(lambda: pooling(server) > before)
        gateway.process.send_signal(signal.SIGTERM)
        assert gateway.end() == 0
        answer = request.result()
        assert answer.status_code == 503
        assert answer.json()["error"]["type"] == "Stopped"
        assert answer.headers["retry-after"]
        assert not any("What is" in json.dumps(line) for line in gateway.lines)


def test_the_key_of_a_file_comes_before_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARD_CLIENT_GATEWAY_KEY", "of-the-environment")
    (tmp_path / "key").write_text("of-the-file\n", "utf-8")
    with RewardServer() as server:
        with running("--url", server.url) as gateway:
            assert post(gateway).status_code == 401
            assert post(gateway, auth=("any", "of-the-environment")).status_code == 200
        with running("--url", server.url, "--key-file", str(tmp_path / "key")) as gateway:
            assert post(gateway, auth=("any", "of-the-environment")).status_code == 401
            assert post(gateway, auth=("any", "of-the-file")).status_code == 200


def test_in_this_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("reward_client", "uvicorn.error"):  # which the command changes for good
        logger = logging.getLogger(name)
        for attribute in ("handlers", "propagate", "level"):
            monkeypatch.setattr(logger, attribute, getattr(logger, attribute))
    port = free_port()
    answers: list[httpx.Response] = []

    def ask_and_stop() -> None:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: is_up(url))
        answers.append(httpx.post(f"{url}/score", json=ROW, trust_env=False, timeout=60))
        os.kill(os.getpid(), signal.SIGTERM)

    with RewardServer() as server, ThreadPoolExecutor() as pool:
        asking = pool.submit(ask_and_stop)
        options = ["--url", server.url, "--port", str(port), "--log-level", "warning"]
        assert cli.main(["gateway", *options, "--head", "ScalarHead()", "--patience", "60"]) == 0
        asking.result()
    assert answers[0].json()["error"] is None
    assert capsys.readouterr().err == ""  # nothing to warn of


def is_refused(url: str) -> bool:
    """Return True once a stopping gateway takes no further request."""
    try:
        httpx.get(f"{url}/health", trust_env=False)
    except httpx.ConnectError:
        return True
    return False


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--key-file", "nowhere"], "Cannot read the key in nowhere"),
        (["--key-file", "empty"], "it must be ASCII without spaces, and not empty"),
        (["--key-file", "two"], "it must be ASCII without spaces, and not empty"),
        (["--key-file", "bytes"], "it is no text"),
        (["--max-samples", "9", "--max-in-flight", "8"], "Lower the first, or raise the second"),
        (["--policy-tokenizer", "nowhere/at/all"], "nowhere/at/all"),
        (["--strip-reasoning", "<think>"], "--strip-reasoning takes the names of tags"),
        (["--url", "localhost:8000"], "--url must look like"),
    ],
)
def test_an_option_that_is_wrong(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("\n", "utf-8")
    Path("two").write_text("a-key another", "utf-8")
    Path("bytes").write_bytes(b"\xff\xfe")
    given = [] if "--url" in arguments else ["--url", "http://127.0.0.1:9"]
    assert cli.main(["gateway", *given, "--port", "0", *arguments]) == 2
    shown = capsys.readouterr().err
    assert says in shown
    assert "a-key" not in shown


def test_a_port_that_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with RewardServer() as server:
        port = server.url.rpartition(":")[2]
        assert cli.main(["gateway", "--url", server.url, "--port", port]) == 1
    assert f"Cannot listen on 127.0.0.1, port {port}" in capsys.readouterr().err


def test_a_second_gateway_does_not_bind_the_address_of_a_first_that_is_starting() -> None:
    with closing(listening_socket("127.0.0.1", 0)) as first, pytest.raises(OSError, match="in use"):
        listening_socket("127.0.0.1", first.getsockname()[1])


def test_callers_close_idle_connections_before_the_gateway_does() -> None:
    app = create_app(AsyncRewardClient("http://127.0.0.1:9"))
    connector_of_aiohttp = 15  # the default seconds of its TCPConnector; httpx has 5
    assert config_of(app, grace=1).timeout_keep_alive > 2 * connector_of_aiohttp


def test_the_extra_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [each for each in sys.modules if each.startswith("reward_client.gateway")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette", None)
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    assert cli.main(["gateway", "--url", "http://127.0.0.1:9"]) == 1
    assert "Install reward-client[gateway]" in capsys.readouterr().err
