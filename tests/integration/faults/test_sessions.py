"""Event loops that come and go, and what a closed client leaves behind."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from reward_client import AsyncRewardClient, RewardClient

from ...support.raw_server import CONVERSATION, expected

ROOT = Path(__file__).parents[3]


def test_event_loops_side_by_side(server):
    client = AsyncRewardClient(server.url)
    values: list[float] = []

    async def score() -> None:
        values.extend([(await client.score(CONVERSATION)).value for _ in range(5)])
        await client._session.core.aclose()

    threads = [threading.Thread(target=lambda: asyncio.run(score())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert values == [expected()] * 20


@pytest.mark.parametrize("closing", [True, False])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_process_ends_quietly(server, kind, closing):
    """Closed: not a word under -W error. Left open: it ends all the same, and with success."""
    sync_end = "client.close()" if closing else ""
    async_end = "await client.aclose()" if closing else ""
    body = {
        "sync": f"""
            client = RewardClient({server.url!r})
            print(client.score({CONVERSATION!r}).value)
            {sync_end}
            """,
        "async": f"""
            async def main():
                client = AsyncRewardClient({server.url!r})
                print((await client.score({CONVERSATION!r})).value)
                {async_end}
            asyncio.run(main())
            """,
    }[kind]
    script = (
        textwrap.dedent(
            """
        import asyncio, gc
        from reward_client import AsyncRewardClient, RewardClient
        """
        )
        + textwrap.dedent(body)
        + "\ngc.collect()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.fspath(ROOT)},
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(expected())
    if closing:
        assert not done.stderr


def test_a_client_without_a_call_needs_no_closing():
    RewardClient("http://far.example")
    AsyncRewardClient("http://far.example")
    gc.collect()
