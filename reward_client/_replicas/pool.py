"""The servers of one model, and which of them does what; a single server is a fleet of one."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, Literal, TypeAlias, TypeVar

from reward_client._base.samples import Prompt
from reward_client._protocols.http import RESTART_SECONDS, SERVER_FAILURES, Transport
from reward_client._replicas.comparison import ReplicaFingerprint, compare
from reward_client._replicas.monitor import ServerMonitor
from reward_client._replicas.sample import first_seen, seen
from reward_client._replicas.single_flight import SingleFlight
from reward_client._server.identity import Identity
from reward_client._server.requests import OtherModelError
from reward_client._server.state import ServerState
from reward_client.errors import (
    BadRequestError,
    ModelNotFoundError,
    ProtocolError,
    ReplicaMismatchError,
    ResponseMismatchError,
    RewardClientError,
    RouteNotFoundError,
    ServerError,
    ServerUnreachableError,
    ShapeError,
)

T = TypeVar("T")
Kind: TypeAlias = Literal["tokenizing", "scoring"]

_MAX_CHANGES = 5
"""How many servers may take each other's place under one piece of work before that is a failure."""

_MAX_DEATHS = 2
"""How many servers may fail under one piece of work: at the second its input is the suspect."""

_NOT_READY = 503

_LONGEST_PAUSE = 60.0
"""Seconds between two looks at a server that is left out; they begin at `RESTART_SECONDS`."""

MAY_BE_ANOTHER_SERVER = (RouteNotFoundError, ModelNotFoundError, ShapeError)
"""What a request made for one server may get from another that has come up in its place."""

_WRONG_ADDRESSEE = (*MAY_BE_ANOTHER_SERVER, BadRequestError, ProtocolError)


@dataclass(frozen=True, slots=True)
class ReplicaFactory:
    """What makes a server of a fleet.

    Attributes:
        transport: Opens the transport to a server; its argument says if another one can take over.
        identify: Asks who is there.
        discover: Finds out all there is.
    """

    transport: Callable[[str, Callable[[], bool]], Transport]
    identify: Callable[[Transport], Awaitable[Identity]]
    discover: Callable[[Transport], Awaitable[ServerState]]


class Replica:
    """One server of a fleet.

    Attributes:
        transport: The way to it.
        watch: What is known of it; only what is equal to the fleet's standard becomes known.
        in_flight: How much it has to do, by kind: prompts to tokenize, tokens to score.
    """

    def __init__(self, pool: ReplicaPool, parts: ReplicaFactory, url: str) -> None:
        async def discover() -> ServerState:
            serving = await parts.discover(transport)
            await pool.admit(self, serving)
            return serving

        transport = parts.transport(url, lambda: pool.has_others(self))
        self.transport = transport
        self.watch = ServerMonitor(transport, lambda: parts.identify(transport), discover)
        self.in_flight: dict[Kind, int] = {"tokenizing": 0, "scoring": 0}


@dataclass(eq=False, slots=True)
class Baseline:
    """What all servers of a fleet are equal to.

    Attributes:
        serving: The server that was found out first.
        sample: What the others are compared on, and what the first makes of it; None where there
            are no others.
        max_model_len: The most tokens that all of them take.
    """

    serving: ServerState
    sample: tuple[Prompt, ReplicaFingerprint] | None
    max_model_len: int | None


@dataclass(slots=True)
class _Absence:
    """A server that is left out: when it was looked at, and how long that holds."""

    pause: float
    seen: float


@dataclass(frozen=True, slots=True)
class _Done(Generic[T]):
    result: T


class _UnfitError(Exception):
    """A server that is to do something, and is not there, or no longer what it was."""

    def __init__(self, error: RewardClientError) -> None:
        super().__init__()
        self.error = error


class ReplicaPool:
    """Has work done by the least busy of several equal servers; belongs to one event loop.

    All are found out and compared before the first piece of work. A server that fails is left out
    and looked at again later; the last one in use is not left out, but tried as often as the retry
    policy says.

    Args:
        urls: The servers.
        parts: What makes a server.
        tolerance: How far rewards of replicas may lie apart.
        log: Logs a message at a level.
    """

    def __init__(
        self,
        urls: Sequence[str],
        parts: ReplicaFactory,
        tolerance: float,
        log: Callable[[int, str], None],
    ) -> None:
        self.servers = tuple(Replica(self, parts, url) for url in urls)
        self._tolerance = tolerance
        self._log = log
        self._baseline: Baseline | None = None
        self._founding = asyncio.Lock()
        self._beginning = SingleFlight()
        self._has_begun = False
        self._in_use: list[Replica] = []
        self._absent: dict[Replica, _Absence] = {}
        self._looks: dict[Replica, asyncio.Task[None]] = {}

    @property
    def size(self) -> int:
        """How many servers are in use."""
        return len(self._in_use)

    @property
    def baseline(self) -> Baseline:
        """What the servers in use are equal to; another object where it is not the same any more.

        Raises:
            RuntimeError: Nothing was done yet.
        """
        if self._baseline is None:
            raise RuntimeError("No server was found out yet.")
        return self._baseline

    async def assured(self) -> Baseline:
        """The standard, where a server has just been there to agree, or is found to be now.

        Raises:
            RewardClientError: None can be found out, or they differ.
        """
        if self._has_begun and any(server.watch.current for server in self._in_use):
            return self.baseline
        return await self.at_one(self._agreed, "tokenizing", 0)

    async def _agreed(self, server: Replica, serving: ServerState) -> Baseline:
        return self.baseline

    async def servings(self) -> tuple[ServerState, ...]:
        """The servers in use, as they are now.

        Raises:
            RewardClientError: None can be found out, or they differ.
        """
        if not self._has_begun:
            await self._beginning.do(self._begin)
        found: list[ServerState] = []
        for server in tuple(server for server in self.servers if server in self._in_use):
            try:
                found.append(await server.watch.serving())
            except RewardClientError as error:
                if not await self._is_replaced(server, error):
                    raise
        return tuple(found)

    async def at_one(
        self, work: Callable[[Replica, ServerState], Awaitable[T]], kind: Kind, size: int
    ) -> T:
        """Has something done by one server, and by another one where that fails.

        The result counts only if the same server was there from the beginning to the end: where
        something says that another may have come up, that is found out, and the work is done again
        if it is so.

        Args:
            work: What is done.
            kind: What it keeps the server busy with.
            size: And how much.

        Raises:
            RewardClientError: What the work raises, or the last server that could not do it.
        """
        changes = deaths = 0
        while True:
            if not self._has_begun:
                await self._beginning.do(self._begin)
            server = self._least_busy(kind)
            is_last = not self.has_others(server)  # so that its caller tries as often as it may
            server.in_flight[kind] += size
            try:
                done = await self._done(server, work, is_doubted=changes > 0)
            except _UnfitError as unfit:
                error = unfit.error
            except SERVER_FAILURES as failure:
                error = failure
                deaths += _may_have_killed(failure)
            else:
                if done is not None:
                    return done.result
                changes += 1
                if changes == _MAX_CHANGES:
                    raise _always_another(server)
                continue
            finally:
                server.in_flight[kind] -= size
            is_replaced = await self._is_replaced(server, error)
            if deaths == _MAX_DEATHS or (is_last and not is_replaced):
                raise error

    async def aclose(self) -> None:
        """Stops looking at servers that are left out, and waits until that has stopped."""
        looks = tuple(self._looks.values())
        for look in looks:
            look.cancel()
        if looks:
            await asyncio.wait(looks)

    def has_others(self, server: Replica) -> bool:
        """Whether any other server is in use."""
        return len(self._in_use) > (server in self._in_use)

    async def admit(self, server: Replica, serving: ServerState) -> None:
        """Takes a server that was found out into use, if it is equal to the others.

        Where there are no others in use, it sets the standard. One that is left out stays so until
        it is looked at again.

        Raises:
            ReplicaMismatchError: It differs from them.
            RewardClientError: What it is compared by cannot be had.
        """
        async with self._founding:
            if self._baseline is None:
                self._baseline = await self._founded(server, serving)
                self._use(server)
                return
        try:
            await self._compare(self._baseline, server, serving)
        except ReplicaMismatchError:
            if self.has_others(server):
                raise
            self._baseline = await self._founded(server, serving)
        self._use(server)

    async def _founded(self, server: Replica, serving: ServerState) -> Baseline:
        compared = len(self.servers) > 1
        sample = await first_seen(server.transport, serving) if compared else None
        return Baseline(serving, sample, serving.profile.max_model_len)

    async def _compare(self, baseline: Baseline, server: Replica, serving: ServerState) -> None:
        if baseline.sample is None:
            if not serving.is_same_as(baseline.serving):
                raise ReplicaMismatchError(f"{server.transport.url} is another server now.")
            return
        prompt, first = baseline.sample
        other = next((other for other in self._in_use if other is not server), None)
        if other is not None:  # all in use are equal to the first, which may be this one
            profile = first.profile.model_copy(update={"url": other.transport.url})
            first = replace(first, profile=profile)
        remark = compare(first, await seen(server.transport, serving, prompt), self._tolerance)
        if remark is not None:
            self._log(logging.WARNING, remark)
        limits = (baseline.max_model_len, serving.profile.max_model_len)
        baseline.max_model_len = min((limit for limit in limits if limit), default=None)

    def _use(self, server: Replica) -> None:
        if server not in self._in_use and server not in self._absent:
            self._in_use.append(server)

    async def _begin(self) -> None:
        """Finds out all servers; leaves those out that are not there.

        Raises:
            RewardClientError: None is there, or one is not as it should be.
        """
        if self._has_begun:
            return
        outcomes = await asyncio.gather(
            *(server.watch.serving() for server in self.servers), return_exceptions=True
        )
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        wrong = [error for error in errors if not isinstance(error, SERVER_FAILURES)]
        if wrong or len(errors) == len(outcomes):
            raise (wrong or errors)[0]
        for server, outcome in zip(self.servers, outcomes, strict=True):
            if isinstance(outcome, RewardClientError):
                self._leave_out(server, outcome)
        self._has_begun = True

    def _least_busy(self, kind: Kind) -> Replica:
        if self._absent:
            self._look_around(patiently=True)
        if len(self._in_use) == 1:
            return self._in_use[0]
        # Of several that are as busy any one: many clients must not all begin with the first.
        chance = random.random
        return min(self._in_use, key=lambda server: (server.in_flight[kind], chance()))

    async def _done(
        self,
        server: Replica,
        work: Callable[[Replica, ServerState], Awaitable[T]],
        *,
        is_doubted: bool,
    ) -> _Done[T] | None:
        """What came of the work; None where the server is another one now, or may be.

        Args:
            server: The server.
            work: The work.
            is_doubted: Whether it was done in vain before, so that an error is believed.
        """
        watch = server.watch
        current = watch.current
        serving = await _fit(watch.serving()) if current is None else current
        try:
            result = await work(server, serving)
        except OtherModelError:
            server.transport.mark_lost()
            return None
        except _WRONG_ADDRESSEE as error:
            if isinstance(error, MAY_BE_ANOTHER_SERVER) and not is_doubted:
                server.transport.mark_lost()
                return None
            if await _fit(watch.still_serves(serving)):
                raise
            return None
        if not (watch.holds(serving) or await _fit(watch.still_serves(serving))):
            return None
        watch.heard()
        return _Done(result)

    async def _is_replaced(self, server: Replica, error: RewardClientError) -> bool:
        """Whether others do the work of a server that could not; then it is left out."""
        if not self.has_others(server):
            self._look_around(patiently=False)
            if self._looks:
                await asyncio.wait(tuple(self._looks.values()))
            if not self.has_others(server):
                return False
        self._leave_out(server, error)
        return True

    def _leave_out(self, server: Replica, error: RewardClientError) -> None:
        if server in self._absent:
            return
        if server in self._in_use:
            self._in_use.remove(server)
        server.transport.mark_lost()  # so that it is found out and compared before it is used again
        self._absent[server] = _Absence(RESTART_SECONDS, time.monotonic())
        self._log(logging.WARNING, f"{server.transport.url} is left out: {_named(error)}")

    def _look_around(self, *, patiently: bool) -> None:
        """Looks at the servers that are left out, in the background, as far as it is time."""
        now = time.monotonic()
        for server, absence in self._absent.items():
            pause = absence.pause if patiently else RESTART_SECONDS
            if server not in self._looks and now - absence.seen >= pause:
                look = asyncio.create_task(self._look(server, absence))
                self._looks[server] = look
                look.add_done_callback(partial(self._looked, server))

    def _looked(self, server: Replica, _: asyncio.Task[None]) -> None:
        del self._looks[server]

    async def _look(self, server: Replica, absence: _Absence) -> None:
        try:
            await server.watch.serving()
        except Exception as error:  # noqa: BLE001 - a caller's transport may raise anything
            absence.pause = min(2 * absence.pause, _LONGEST_PAUSE)
            absence.seen = time.monotonic()
            if not isinstance(error, SERVER_FAILURES):
                self._log(logging.WARNING, f"{server.transport.url} stays out: {_named(error)}")
        else:
            del self._absent[server]
            self._use(server)
            self._log(logging.INFO, f"{server.transport.url} is in use again")


async def _fit(serving: Awaitable[T]) -> T:
    try:
        return await serving
    except RewardClientError as error:
        raise _UnfitError(error) from error


def _always_another(server: Replica) -> ResponseMismatchError:
    return ResponseMismatchError(
        f"The server at {server.transport.url} was another one each of {_MAX_CHANGES} times: "
        "several servers that differ seem to share this address."
    )


def _may_have_killed(error: RewardClientError) -> bool:
    """Whether a server failed over the work: it had reached it, and was not just turned away."""
    if isinstance(error, ServerUnreachableError):
        return bool(error.attempts)  # the connection was cut before, and then refused
    return not (isinstance(error, ServerError) and error.status == _NOT_READY)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
