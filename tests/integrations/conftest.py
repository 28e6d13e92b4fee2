"""What the tests of integrations share: a server, and an environment without options."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from reward_client._integrations.environment import PREFIX
from reward_client.testing import RewardServer


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


def port_of(server: RewardServer) -> int:
    return int(server.url.rpartition(":")[2])
