"""Gateways of other projects, each in a process of its own. `nox -s gateways` installs them."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

ROUTER = Path(__file__).with_name("verl_router.py")
_STARTING_SECONDS = 60


@contextmanager
def verl_router(url: str) -> Iterator[str]:
    """verl's reward router before a server; yields its URL."""
    port = _free_port()
    with _running(
        [str(ROUTER), str(port), url], f"http://127.0.0.1:{port}", "/v1/models"
    ) as router:
        yield router


@contextmanager
def sglang_router(urls: Sequence[str]) -> Iterator[str]:
    """SGLang's router before some servers; yields its URL."""
    port = _free_port()
    command = ["-m", "sglang_router.launch_router", "--worker-urls", *urls, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--prometheus-port", str(_free_port())]
    command += ["--policy", "round_robin", "--log-level", "error"]
    with _running(command, f"http://127.0.0.1:{port}", "/health") as router:
        yield router


@contextmanager
def _running(command: Sequence[str], url: str, path: str) -> Iterator[str]:
    with subprocess.Popen([sys.executable, *command]) as router:
        try:
            _wait(url + path, router)
            yield url
        finally:
            router.terminate()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _wait(url: str, router: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS
    while time.monotonic() < deadline:
        assert router.poll() is None, "the router ended"
        try:
            with urlopen(url):
                return
        except URLError:
            time.sleep(0.1)
    raise AssertionError("the router does not answer")
