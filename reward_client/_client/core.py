"""The core of equal clients in a process: connections, limits, knowledge of the servers.

Nothing here may belong to a client: a core outlives clients, and must not keep them alive.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from weakref import WeakSet

from reward_client._client.config import Config
from reward_client._client.link import Link, connect
from reward_client._client.loop_thread import LoopThread
from reward_client._protocols.http import RESTART_SECONDS

LINGER_SECONDS = RESTART_SECONDS
"""How long a core waits for another client when its last one was forgotten, and not closed.

After that time without a response it would have to verify its servers anyway.
"""


class Core:
    """The connections of a client and of its equals, for each event loop that uses them.

    Args:
        config: The options of the clients.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clients = 0
        self.departures = 0
        self.left_at = 0.0
        self._links: dict[asyncio.AbstractEventLoop, Link] = {}
        self._earlier: Link | None = None
        self._thread: LoopThread | None = None
        _cores.add(self)

    async def link(self) -> Link:
        """Return the link of the running event loop. A new one continues an earlier one."""
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            self.drop_ended()
            link = connect(self.config, self.config.urls)
            if self._earlier is not None:
                link.take_over(self._earlier)
            self._links[loop] = link
            link.ending = _at_the_end_of_the_loop(partial(self._close, loop))
            await anext(link.ending)  # the loop notes it
        return link

    def thread(self) -> LoopThread:
        """Return the thread with an event loop, for clients that block."""
        if self._thread is None:
            with _lock:
                if self._thread is None:
                    self._thread = LoopThread(self.aclose)
        return self._thread

    @property
    def started_thread(self) -> LoopThread | None:
        """The thread, if there is one."""
        return self._thread

    async def aclose(self) -> None:
        """Close the connections of the running loop, and of loops that have ended."""
        self.drop_ended()
        await self._close(asyncio.get_running_loop())

    def close_everywhere(self) -> None:
        """Close all connections, each in its own event loop as soon as that can."""
        self.drop_ended()
        for loop in tuple(self._links):
            with suppress(RuntimeError):  # the loop has just been closed, and its end has done it
                loop.call_soon_threadsafe(self._begin_to_close, loop)

    def drop_ended(self, *, also_stopped: bool = False) -> None:
        """Drop the connections of event loops that were closed without an end.

        Args:
            also_stopped: True drops those of loops that stand still as well: nothing will run.
        """
        for loop in tuple(self._links):
            if loop.is_closed() or (also_stopped and not loop.is_running()):
                link = self._links.pop(loop, None)
                if link is not None:
                    link.drop()
                    _finish(link)
                    self._retire(link)

    def renew_after_fork(self) -> None:
        """Leave loops, connections and thread to the parent: only it runs them."""
        links, thread = self._links, self._thread
        self._links, self._thread = {}, None
        _of_the_parent.append((links, thread))
        for link in links.values():
            link.drop()
            _finish(link)

    async def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        link = self._links.pop(loop, None)
        if link is None:
            return
        await link.aclose()
        ending = link.ending
        self._retire(link)
        if ending is not None:
            with suppress(RuntimeError):  # it is the one that closes
                await ending.aclose()

    def _begin_to_close(self, loop: asyncio.AbstractEventLoop) -> None:
        task = loop.create_task(self._close(loop))
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    def _retire(self, link: Link) -> None:
        link.ending = None
        if link.pool.is_started:
            self._earlier = link


_cores: WeakSet[Core] = WeakSet()
_shared: list[tuple[bool, Mapping[str, str], Core]] = []
_closing: set[asyncio.Task[None]] = set()
_of_the_parent: list[object] = []
# The garbage collector may end a client, and so call `leave`, while its thread holds the lock.
_lock = threading.RLock()


def join(config: Config, *, blocks: bool) -> Core:
    """Return the core for a new client; clients of equal options share it.

    Args:
        config: The client's options.
        blocks: True for a client with an event loop in a thread.
    """
    with _lock:
        _forget_left()
        if not config.is_shareable:
            core = Core(config)
        else:
            surroundings = _surroundings(config)
            for is_blocking, around, core in _shared:
                if is_blocking == blocks and core.config == config and around == surroundings:
                    break
            else:
                core = Core(config)
                _shared.append((blocks, surroundings, core))
        core.clients += 1
        return core


def leave(core: Core) -> None:
    """Note that a client was forgotten. The core lingers a little, in case an equal one comes."""
    with _lock:
        core.clients -= 1
        if core.clients:
            return
        core.departures += 1
        core.left_at = time.monotonic()
    thread = core.started_thread
    if thread is not None:
        seconds = LINGER_SECONDS if core.config.is_shareable else 0.0
        thread.call_later(seconds, partial(_end_if_left, core, core.departures))
    elif core.config.is_shareable:
        core.drop_ended()
    else:
        core.close_everywhere()


def part(core: Core) -> bool:
    """Note that a client was closed; return whether it was the last one.

    The core is then forgotten: the next client begins without knowledge.
    """
    with _lock:
        core.clients -= 1
        if core.clients:
            return False
        _forget(core)
        return True


def _end_if_left(core: Core, departures: int) -> None:
    with _lock:
        if core.clients or core.departures != departures:
            return
        _forget(core)
    thread = core.started_thread
    if thread is not None:
        thread.stop()


def _forget_left() -> None:
    """Forget the cores of event loops of the caller's that nobody came back to."""
    enough = time.monotonic() - LINGER_SECONDS
    for *_, core in tuple(_shared):
        if not core.clients and core.left_at < enough and core.started_thread is None:
            _forget(core)
            core.close_everywhere()


def _forget(core: Core) -> None:
    _shared[:] = [each for each in _shared if each[-1] is not core]


def _surroundings(config: Config) -> Mapping[str, str]:
    """Return the variables of the environment that connections read when they are made."""
    if not config.connection.trust_env:
        return {}
    return {
        name: value
        for name, value in os.environ.items()
        if name.lower().endswith("_proxy") or name in ("SSL_CERT_FILE", "SSL_CERT_DIR")
    }


async def _at_the_end_of_the_loop(end: Callable[[], Awaitable[None]]) -> AsyncGenerator[None]:
    """Await a function when the event loop ends.

    `asyncio.run` closes the generators that began under it, while connections can still be closed
    in order. A task would do so too, but would be in the way of whoever waits for all tasks.
    """
    try:
        yield
    finally:
        await end()


def _finish(link: Link) -> None:
    """End the generator of a loop that runs no more: nothing is left to do for it."""
    if link.ending is not None:
        with suppress(StopIteration, RuntimeError):
            link.ending.aclose().send(None)


def _renew_after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread may have held it
    _lock = threading.RLock()
    for core in tuple(_cores):
        core.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)


@atexit.register
def _drop_all() -> None:
    for core in tuple(_cores):
        core.drop_ended(also_stopped=True)
