"""Real servers: one at a time, behind one URL, started when a test first needs them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAX_TOKENS = 1024
MODEL_NAME = "reward-model"
_START_SECONDS = 300
_STOP_SECONDS = 30
# Outlives tests that are killed, which no fixture does: its input ends when they do. A signal to
# the server (PR_SET_PDEATHSIG) is not enough: SIGTERM hangs vLLM while it starts, and SIGKILL
# leaves its engine behind.
_WATCHDOG = ("sh", "-c", 'cat; kill -s KILL -- "-$0"')


class Server:
    """The process of a server and its children, in a process group of their own."""

    def __init__(
        self, command: Sequence[str | Path], environment: Mapping[str, str], port: int, log: Path
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Of the same session: Linux shares the CPU out between sessions, and by turns so
                # long that a client of another one waits while the server does a whole request.
                process_group=0,
            )
        self._watchdog = subprocess.Popen(
            [*_WATCHDOG, str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_until_healthy(self) -> Self:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            healthy = self._healthy()
            if not self.alive:  # whoever answers
                raise AssertionError(f"The server ended while starting:\n{self._log_tail()}")
            if healthy:
                return self
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"Not up after {_START_SECONDS} s:\n{self._log_tail()}")
            time.sleep(0.2)

    def metric(self, name: str) -> float:
        """A Prometheus metric, summed over its labels."""
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + "{"))

    def kill(self) -> None:
        """As a crash does it: no goodbye on any connection, at once for every process."""
        self._watchdog.kill()
        self._watchdog.communicate()
        self._signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self.kill()  # whatever of the group is left

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).is_success
        except httpx.TransportError:
            return False

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-40:])


class Stand(ABC):
    """The place where a server stands: always the same URL, and never two servers at once.

    The port is kept until `close`, with and without a server on it.
    """

    def __init__(self, python: Path, logs: Path) -> None:
        self._python = python
        self._logs = logs
        self._held = _hold_port()
        self._port: int = self._held.getsockname()[1]
        self._server: Server | None = None
        self._serving: tuple[Path, tuple[str, ...]] | None = None
        self.starts = 0

    def serve(self, folder: Path, *options: str) -> Server:
        """The server of this checkpoint: the running one, or a new one that is not up yet."""
        if self._server and self._server.alive and self._serving == (folder, options):
            return self._server
        return self.start(folder, *options)

    def start(self, folder: Path, *options: str) -> Server:
        """A new server, which is not up yet."""
        self.stop()
        self._wait_until_nobody_listens()
        self.starts += 1
        log = self._logs / f"server-{self.starts}.log"
        command = [*self._command(folder, self._port), *options]
        self._server = Server(command, self._environment(), self._port, log)
        self._serving = folder, options
        return self._server

    def stop(self) -> None:
        if self._server:
            self._server.stop()

    def close(self) -> None:
        self.stop()
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_until_nobody_listens(self) -> None:
        """A killed server's children may listen for a moment; anybody else would answer for us."""
        deadline = time.monotonic() + _STOP_SECONDS
        while _listens(self._port):
            if time.monotonic() > deadline:
                raise AssertionError(f"Another server listens at port {self._port}.")
            time.sleep(0.1)

    @abstractmethod
    def _command(self, folder: Path, port: int) -> list[str | Path]:
        """The command that serves a checkpoint, without the options of a model."""

    @abstractmethod
    def _environment(self) -> dict[str, str]:
        """The variables that it needs besides those of the tests."""


def _hold_port() -> socket.socket:
    """Bind a free port, for servers only, which all set SO_REUSEADDR.

    Linux then gives it to no other process that asks for any free port, nor to a connection. It
    would while the port is unbound: a server binds its port up to half a minute after its start.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
