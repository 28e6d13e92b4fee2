"""The default patience: what fails within seconds, and what waits."""

from __future__ import annotations

import threading
import time

import pytest

from reward_client import RewardClient, RewardTimeoutError, ServerUnreachableError
from reward_client.testing import RewardServer

from .restarting import free_port, restart_and_compare


def test_a_first_contact_fails_within_seconds():
    started = time.monotonic()
    with (
        RewardClient(f"http://127.0.0.1:{free_port()}") as client,
        pytest.raises(ServerUnreachableError, match="wait_until_ready"),
    ):
        client.score([5, 6, 7])
    assert time.monotonic() - started < 10


def test_a_server_that_starts_later_is_awaited():
    port = free_port()
    server = RewardServer(port=port)
    start = threading.Timer(1, server.__enter__)
    start.start()
    try:
        with RewardClient(f"http://127.0.0.1:{port}") as client:
            client.wait_until_ready(timeout=30)
            assert client.servers()
    finally:
        start.join()
        server.__exit__(None, None, None)


def test_a_wait_has_an_end():
    with (
        RewardClient(f"http://127.0.0.1:{free_port()}") as client,
        pytest.raises(RewardTimeoutError, match=r"within 0\.2 s"),
    ):
        client.wait_until_ready(timeout=0.2)


def test_a_restart_fails_no_sample():
    run = restart_and_compare(4_000, away=3, kill_after=0.2)

    assert (run.rewards, run.wrong, run.failures) == (4_000, 0, {})
