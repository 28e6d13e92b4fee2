"""The gateway as a process: it listens, and stops without losing a request."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from reward_client._client.async_client import AsyncRewardClient
from reward_client.gateway.app import create_app
from reward_client.gateway.contracts.contract import PolicyText
from reward_client.gateway.limits import GatewayLimits
from reward_client.gateway.logs import note

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BACKLOG = 2048


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address.

    Raises:
        OSError: If it cannot be.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    # asyncio turns Nagle's algorithm off only for a socket that names its protocol.
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def run(
    client: AsyncRewardClient,
    bound: socket.socket,
    *,
    key: str | None,
    limits: GatewayLimits,
    policy: PolicyText | None,
) -> None:
    """Serve until SIGINT or SIGTERM, and close the client.

    Args:
        client: The client of the reward servers.
        bound: The socket to listen on.
        key: The key that callers have to send; None for no key.
        limits: The bounds.
        policy: Reads texts in the policy's template; None refuses them.
    """
    config = uvicorn.Config(
        create_app(client, key=key, limits=limits, policy=policy),
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=limits.grace,
    )

    async def serve() -> None:
        async with client:
            await uvicorn.Server(config).serve(sockets=[bound])

    with _without_a_second_signal():
        asyncio.run(serve())
    note(logging.INFO, "stopped")


@contextmanager
def _without_a_second_signal() -> Generator[None]:
    """Let a stop by a signal be an ordinary end.

    uvicorn sends itself the signal again after it has stopped, for the handlers from before.
    """

    def ended(_number: int, _frame: FrameType | None) -> None: ...

    before = {number: signal.signal(number, ended) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
