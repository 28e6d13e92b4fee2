"""Prints the peak memory of a client that gets a reply beyond every bound, for each carrier.

    python -m tests.integration.faults.memory [REPLY …]

The server, and each client, is a process of its own. A client keeps its default limits.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection
from contextlib import closing

from reward_client import RewardClientError, Timeouts

from ...support.fake_vllm import BOS, ids_of, rendered
from ...support.raw_server import (
    CONVERSATION,
    Action,
    Answer,
    RawServer,
    Request,
    answer,
    http,
    sending,
)
from .carriers import CARRIERS
from .test_bounds import CHUNKED, GZIP, HEAD, blanks, bomb, failed, trickling, zipped

MODULE = "tests.integration.faults.memory"
SAMPLE = [BOS, *ids_of(rendered(CONVERSATION))]
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n" * 1000


def empty_lists() -> bytes:
    return b'{"tokens": [' + b"[]," * 20_000_000 + b"[]]}"


def replies() -> dict[str, Callable[[], Action]]:
    return {
        "1 MB of gzip, 1 GB unpacked": lambda: sending(http(bomb(1024), 200, GZIP)),
        "the same, status 500": lambda: sending(http(bomb(1024), 500, GZIP)),
        "body without end": lambda: blanks(CHUNKED),
        "the same, status 503": lambda: blanks(failed(CHUNKED, 503)),
        "headers without end": lambda: trickling(HEAD, b"x-more: y\r\n" * 1000, 0),
        "one header without end": lambda: trickling(HEAD + b"x-long: ", b"x" * 65536, 0),
        "1xx without end": lambda: trickling(b"", PROCESSING, 0),
        "60 MB of empty lists": lambda: sending(http(empty_lists())),
        "the same in gzip": lambda: sending(http(zipped(empty_lists()), headers=GZIP)),
    }


def to_the_sample(action: Action) -> Answer:
    """Answer truly, except for the sample."""

    def reply(request: Request) -> Action:
        is_scored = request.path == "/pooling" and request.json.get("input") == [SAMPLE]
        return action if is_scored else answer(request)

    return reply


def serve(name: str) -> None:
    with RawServer(to_the_sample(replies()[name]())) as server:
        print(server.url, flush=True)
        threading.Event().wait()


def peak() -> float:
    """The most MiB that this process held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ask(carrier: str, url: str) -> None:
    with closing(CARRIERS[carrier](url, timeout=Timeouts(total=10))) as client:
        client.servers()
        before, began = peak(), time.monotonic()
        try:
            outcome = str(client.score(CONVERSATION))
        except RewardClientError as error:
            outcome = f"{type(error).__name__}, {1 + len(error.attempts)} attempts"
        seconds = time.monotonic() - began
        print(f"{before:.0f} + {peak() - before:.0f} MiB, {seconds:.1f} s, {outcome}")


def main(names: Collection[str]) -> None:
    print("| Reply |", " | ".join(CARRIERS), "|", flush=True)
    print("|---" * (1 + len(CARRIERS)) + "|", flush=True)
    for name in names or replies():
        command = [sys.executable, "-m", MODULE, "serve", name]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            cells = [
                subprocess.check_output([sys.executable, "-m", MODULE, "ask", carrier, url])
                for carrier in CARRIERS
            ]
        finally:
            server.kill()
            server.wait()
        print(f"| {name} |", " | ".join(cell.decode().strip() for cell in cells), "|", flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", name]:
            serve(name)
        case ["ask", carrier, url]:
            ask(carrier, url)
        case names:
            main(names)
