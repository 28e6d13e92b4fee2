"""Ctrl-C in the middle of score_many: the caller ends at once, and so does the server's work."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bench import Bench

SAMPLES = 8000
TOKENS = 512


def test_interrupt(bench: Bench) -> None:
    server = bench.serve("llama")
    done_before = server.metric("vllm:request_success_total")
    script = Path(__file__).with_name("interrupted.py")
    command = [sys.executable, script, server.url, str(SAMPLES), str(TOKENS)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until(lambda: server.metric("vllm:request_success_total") > done_before, 30)
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=20)
            seconds = time.monotonic() - started
        finally:
            process.kill()

    assert seconds < 2
    # Python ends itself by the signal after an unhandled KeyboardInterrupt.
    assert process.returncode == -signal.SIGINT
    assert stderr.rstrip().endswith("KeyboardInterrupt")
    wait_until(
        lambda: (
            server.metric("vllm:num_requests_running") == 0
            and server.metric("vllm:num_requests_waiting") == 0
        ),
        seconds=3,
    )
    assert server.metric("vllm:request_success_total") - done_before < SAMPLES / 2


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
