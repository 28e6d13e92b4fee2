"""Prints the peak memory of a client that gets a reply beyond every bound, for each carrier.

    python -m tests.integration.faults.memory

The server, and each client, is a process of its own. A client keeps its default limits.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
import zlib
from contextlib import closing

from reward_client import RewardClientError, Timeouts

from ...support.raw_server import CONVERSATION, Action, RawServer, Request, answer, http, sending
from .carriers import CARRIERS
from .test_bounds import CHUNKED, GZIP, HEAD, blanks, failed, packed, trickling

MODULE = "tests.integration.faults.memory"
MIB = 2**20
EMPTY_LISTS = b'{"tokens": [' + b"[]," * 20_000_000 + b"[]]}"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n" * 1000


def zipped(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(data) + packer.flush()


def replies() -> dict[str, Action]:
    bomb = packed(1024 * MIB)
    return {
        "1 MB of gzip, 1 GB unpacked": sending(http(bomb, headers=GZIP)),
        "the same, status 500": sending(http(bomb, 500, headers=GZIP)),
        "body without end": blanks(CHUNKED),
        "the same, status 503": blanks(failed(CHUNKED, 503)),
        "headers without end": trickling(HEAD, b"x-more: y\r\n" * 1000, 0),
        "one header without end": trickling(HEAD + b"x-long: ", b"x" * 65536, 0),
        "1xx without end": trickling(b"", PROCESSING, 0),
        "60 MB of empty lists": sending(http(EMPTY_LISTS)),
        "the same in gzip": sending(http(zipped(EMPTY_LISTS), headers=GZIP)),
    }


def serve(name: str) -> None:
    action = replies()[name]

    def reply(request: Request) -> Action:
        return action if request.path == "/pooling" else answer(request)

    with RawServer(reply) as server:
        print(server.url, flush=True)
        threading.Event().wait()


def peak() -> float:
    """The most MiB that this process held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ask(carrier: str, url: str) -> None:
    with closing(CARRIERS[carrier](url, timeout=Timeouts(total=20))) as client:
        client.servers()
        before, began = peak(), time.monotonic()
        try:
            outcome = str(client.score(CONVERSATION))
        except RewardClientError as error:
            outcome = f"{type(error).__name__}, {1 + len(error.attempts)} attempts"
        seconds = time.monotonic() - began
        print(f"{peak() - before:.0f} MiB, {seconds:.1f} s, {outcome}")


def main() -> None:
    print("| Reply |", " | ".join(CARRIERS), "|", flush=True)
    print("|---" * (1 + len(CARRIERS)) + "|", flush=True)
    for name in replies():
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
    if len(sys.argv) == 1:
        main()
    elif sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        ask(sys.argv[2], sys.argv[3])
