"""Gateways of other projects, each in a process of its own. `nox -s gateways` installs them."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

ROUTER = Path(__file__).with_name("verl_router.py")
_STARTING_SECONDS = 60


@contextmanager
def verl_router(url: str) -> Iterator[str]:
    """verl's reward router before a server; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, ROUTER, str(port), url]) as router:
        try:
            _wait(f"http://127.0.0.1:{port}/v1/models", router)
            yield f"http://127.0.0.1:{port}"
        finally:
            router.terminate()


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
