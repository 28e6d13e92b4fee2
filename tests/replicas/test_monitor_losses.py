"""What a loss says about a discovery: only a loss that began after it spoils it."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from reward_client._protocols.http import Request, Response
from reward_client._replicas.monitor import ServerMonitor
from reward_client._server.state import ServerState


class Lost:
    url = "http://far"

    def __init__(self) -> None:
        self.lost_at = 0.0

    def mark_lost(self, began: float | None = None) -> None:
        self.lost_at = max(self.lost_at, time.monotonic() if began is None else began)

    async def send(self, request: Request) -> Response:
        raise NotImplementedError


def discoveries(*losses: float | None) -> int:
    """How many discoveries a state takes if losses become known during the first ones.

    Args:
        losses: The seconds from each loss to the beginning of the discovery; None for a loss
            during the discovery.
    """
    transport, made = Lost(), list[float]()
    left = list(losses)

    async def discover() -> ServerState:
        began = time.monotonic()
        made.append(began)
        if left:
            before = left.pop(0)
            transport.mark_lost(None if before is None else began - before)
        return cast("ServerState", object.__new__(Same))

    asyncio.run(ServerMonitor(transport, None, discover).state())
    return len(made)


class Same:
    def is_same_as(self, _: object) -> bool:
        return True


def test_35_a_loss_that_began_before_spoils_nothing():
    assert discoveries(1, 1, 1, 1, 1, 1) == 1


def test_35_a_loss_that_began_since_does():
    assert discoveries(None) == 2
