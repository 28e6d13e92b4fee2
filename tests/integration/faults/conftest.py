"""What the tests of faults share: a scripted server, both clients, and waits that take no time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial

import pytest
from tenacity import AsyncRetrying

from reward_client import RetryPolicy

from ...support.either import OPENERS, EitherClient
from ...support.raw_server import RawServer, answer

Connect = Callable[..., EitherClient]


@pytest.fixture(autouse=True)
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts; none is waited for."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    patched = partial(AsyncRetrying, sleep=sleep)
    monkeypatch.setattr("reward_client._transport.retry.AsyncRetrying", patched)
    return waited


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer(answer) as running:
        yield running


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Opens either client; all of them are closed at the end."""
    with ExitStack() as opened:

        def open_client(url: str, **options: object) -> EitherClient:
            options.setdefault("retry", RetryPolicy(attempts=3))
            return opened.enter_context(closing(OPENERS[request.param](url, **options)))

        yield open_client
