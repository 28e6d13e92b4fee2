"""A gateway in front of the built-in reward server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reward_client import RewardClient
from reward_client.testing import RewardServer

from ..support.running_gateway import RunningGateway

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(server: RewardServer) -> Iterator[RunningGateway]:
    with RunningGateway(server.url) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def reading_gateway(server: RewardServer) -> Iterator[RunningGateway]:
    """A gateway that knows the template of the policy, which is that of the built-in model."""
    with RunningGateway(server.url, policy_tokenizer=str(server.checkpoint)) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def direct(server: RewardServer) -> Iterator[RewardClient]:
    with RewardClient(server.url) as client:
        yield client
