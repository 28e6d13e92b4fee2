"""What the tests of pitfalls share: both clients, on the test server or on a fake one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from reward_client import RetryPolicy
from reward_client.testing import RewardServer

from ...support.either import OPENERS, EitherClient
from ...support.fake_vllm import FakeVllm
from ...support.raw_server import RawServer

Connect = Callable[..., EitherClient]

QUICK = RetryPolicy(attempts=3, max_wait=0.01)


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Opens either client on a server; all of them are closed at the end."""
    with ExitStack() as opened:

        def open_client(
            server: RewardServer | RawServer | FakeVllm, **options: Any
        ) -> EitherClient:
            if isinstance(server, FakeVllm):
                url, options["transport"] = "http://fake", server.transport()
            else:
                url = server.url
            client = OPENERS[request.param](url, **{"retry": QUICK, **options})
            return opened.enter_context(closing(client))

        yield open_client
