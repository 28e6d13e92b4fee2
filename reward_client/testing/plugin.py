"""The pytest plugin with the fixture `reward_server`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reward_client.testing.server import RewardServer


@pytest.fixture
def reward_server() -> Iterator[RewardServer]:
    """A running `reward_client.testing.RewardServer`, new for every test."""
    # A pytest run without this fixture neither pays for the import nor needs the extra.
    from reward_client.testing import RewardServer

    with RewardServer() as server:
        yield server
