"""What the doctor's tests share: both clients, in little time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from reward_client import RetryPolicy
from reward_client.testing import RewardServer

from ..support.either import OPENERS, EitherClient

Serve = Callable[..., RewardServer]
Connect = Callable[..., EitherClient]

QUICK = RetryPolicy(attempts=2, max_wait=0.01)


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Opens either client; all of them are closed at the end."""
    with ExitStack() as opened:

        def open_client(url: str, **options: Any) -> EitherClient:
            client = OPENERS[request.param](url, **{"retry": QUICK, **options})
            return opened.enter_context(closing(client))

        yield open_client


@pytest.fixture(scope="module")
def running() -> Iterator[Serve]:
    """Servers by their options, each started once."""
    with ExitStack() as stack:
        servers: dict[object, RewardServer] = {}

        def start(**options: Any) -> RewardServer:
            key = tuple(sorted(options.items()))
            if key not in servers:
                servers[key] = stack.enter_context(RewardServer(**options))
            return servers[key]

        yield start


@pytest.fixture
def serve(running: Serve) -> Iterator[Serve]:
    """A server as it came up: what a test did to it is over afterwards."""
    used: list[RewardServer] = []

    def start(**options: Any) -> RewardServer:
        used.append(running(**options))
        return used[-1]

    yield start
    for server in used:
        server._faults._planned.clear()
