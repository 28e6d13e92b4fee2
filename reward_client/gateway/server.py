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
from starlette.applications import Starlette

from reward_client._client.async_client import AsyncRewardClient
from reward_client.gateway.logs import note

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BACKLOG = 2048
_KEEP_ALIVE = 75
"""Seconds for which an idle connection stays open. Callers keep theirs up to 15 seconds (aiohttp).
If the gateway closed one first, that might fail the request that is just being sent."""


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
        bound.listen(_BACKLOG)  # else a second gateway could bind the same address until then
    except OSError:
        bound.close()
        raise
    return bound


def config_of(app: Starlette, *, grace: int) -> uvicorn.Config:
    """Return how the HTTP server serves an app.

    Args:
        app: The app of `create_app`.
        grace: The seconds in which requests in flight may end.
    """
    return uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=grace,
    )


def run(
    app: Starlette,
    client: AsyncRewardClient,
    bound: socket.socket,
    *,
    grace: int,
) -> None:
    """Serve an app until SIGINT or SIGTERM, and close the client.

    Args:
        app: The app of `create_app`.
        client: Its client of the reward servers.
        bound: The socket to listen on.
        grace: The seconds in which requests in flight may end.
    """
    config = config_of(app, grace=grace)

    async def serve() -> None:
        async with client:
            await uvicorn.Server(config).serve(sockets=[bound])

    host, port, *_ = bound.getsockname()
    note(logging.INFO, "listening", host=host, port=port)
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
