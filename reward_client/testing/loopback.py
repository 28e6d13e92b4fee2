"""A server on a loopback port, which runs uvicorn in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from reward_client.testing._connection import KILL, TRANSPORT
from reward_client.testing.faults import Fault, FaultInjector
from reward_client.testing.recording import RecordedRequest, Recorder

if TYPE_CHECKING:
    from types import TracebackType

    from starlette.types import ASGIApp

_LOOPBACK = "127.0.0.1"


class _Protocol(H11Protocol):
    """An HTTP protocol that gives the app each request's connection, for faults that break it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.app_state = {**self.app_state, TRANSPORT: transport}
        super().connection_made(transport)


class _Server(uvicorn.Server):
    """A uvicorn server that reports readiness, stops at once, and can end as a process does."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state[KILL] = self.kill
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self.ready.set()

    async def main_loop(self) -> None:
        # uvicorn's own loop polls ten times a second for the end.
        await self.on_tick(0)
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # uvicorn's waits a tenth of a second each time, which adds up in a test suite.
        for server in self.servers:
            server.close()
        for listening in sockets or ():
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await asyncio.sleep(0)  # the connections that were idle are closed

    def stop(self) -> None:
        """Stop the server from another thread; it drops unfinished responses."""
        self.force_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # a killed server has closed its loop
                self._loop.call_soon_threadsafe(self._stop.set)

    def kill(self) -> None:
        """Refuse and drop all connections, as after the end of a process; for the own thread."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        self._stop.set()


class LoopbackServer:
    """Serves an app on a loopback port, records the requests, and injects faults.

    Args:
        app: The app.
        port: The port; 0 takes a free one.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._faults = FaultInjector(app)
        self._recorder = Recorder(self._faults)
        self._wanted_port = port
        self._port: int | None = None
        self._socket: socket.socket | None = None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL of the running server.

        Raises:
            RuntimeError: If the server is not running.
        """
        if self._port is None:
            raise RuntimeError(
                "Cannot give the URL: the server is not running. Use it in a with statement."
            )
        return f"http://{_LOOPBACK}:{self._port}"

    @property
    def requests(self) -> list[RecordedRequest]:
        """All requests so far, in the order of arrival."""
        return self._recorder.requests

    def inject(self, fault: Fault, *, path: str | None = None, times: int = 1) -> None:
        """Hit the next requests with a fault.

        Args:
            fault: The fault.
            path: The path whose requests the fault hits; None for any path.
            times: The number of requests that the fault hits.

        Raises:
            ValueError: If ``times`` is less than 1.
        """
        if times < 1:
            raise ValueError(
                f"Cannot inject the fault: times is {times}. Give 1 or a larger number."
            )
        self._faults.plan(fault, path=path, times=times)

    def __enter__(self) -> Self:
        # asyncio turns Nagle's algorithm off only for a socket that names its protocol. Nagle's
        # algorithm would delay every response by 40 ms.
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((_LOOPBACK, self._wanted_port))
        except OSError:
            self._close_socket()
            raise
        self._port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._recorder,
            http=_Protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            # vLLM's value in seconds: clients must cope with connections closed after it.
            timeout_keep_alive=5,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name=type(self).__name__, daemon=True
        )
        self._thread.start()
        while not self._server.ready.wait(timeout=1):
            if not self._thread.is_alive():
                self._close_socket()
                raise RuntimeError(
                    "Cannot start the server: its thread ended. See the exception that it printed."
                )
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.stop()
            self._thread.join()
        self._close_socket()

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = self._port = None
