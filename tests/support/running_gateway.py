"""A gateway on a loopback port, in a thread of the test."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping
from typing import Any, Self

import httpx
import uvicorn

from reward_client import AsyncRewardClient
from reward_client.gateway import create_app
from reward_client.gateway.server import config_of, listening_socket


class _Server(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config, listens: threading.Event) -> None:
        super().__init__(config)
        self._listens = listens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listens.set()


class RunningGateway:
    """The app of the gateway behind uvicorn, on a free port.

    Attributes:
        url: The base URL.
        client: The gateway's client of the reward servers.
        http: A client of the gateway.
    """

    def __init__(
        self,
        *urls: str,
        client: Mapping[str, Any] | None = None,
        key: str | None = None,
        **app: Any,
    ) -> None:
        self._urls, self._options = list(urls), dict(client or {})
        self._key, self._app = key, app
        self._socket = listening_socket("127.0.0.1", 0)
        self._started = threading.Event()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self.http = httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=60)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=asyncio.run, args=[self._serve()])
        self._thread.start()
        assert self._started.wait(30)
        return self

    async def _serve(self) -> None:
        async with AsyncRewardClient(self._urls, **self._options) as self.client:
            app = create_app(self.client, key=self._key, **self._app)
            config = config_of(app, grace=5)
            self._running = _Server(config, self._started)
            await self._running.serve([self._socket])

    def post(self, path: str, body: object, **options: Any) -> httpx.Response:
        """Send a body, and return the answer, whatever it is."""
        return self.http.post(path, json=body, **options)

    def __exit__(self, *_: object) -> None:
        self.http.close()
        self._running.should_exit = True
        self._thread.join()
        self._socket.close()
