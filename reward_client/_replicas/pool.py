"""The replicas of one model: the least busy one works, another one takes over if it fails.

A single server is a pool of one.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeAlias, TypeVar

from reward_client._base.together import together
from reward_client._protocols.http import (
    MAX_DEATHS,
    RESTART_SECONDS,
    SERVER_FAILURES,
    Transport,
)
from reward_client._replicas.comparison import (
    Samples,
    both_fingerprints,
    compare,
    first_fingerprints,
)
from reward_client._replicas.monitor import ServerMonitor
from reward_client._replicas.single_flight import SingleFlight
from reward_client._server.cross_check import contradiction, difference
from reward_client._server.discovery import discover
from reward_client._server.memory import Memory
from reward_client._server.requests import (
    MAY_BE_ANOTHER_SERVER,
    WRONG_ADDRESSEE,
    OtherModelError,
)
from reward_client._server.state import (
    MAX_CHANGES,
    DiscoveryOptions,
    ServerState,
    keeps_changing,
)
from reward_client.errors import (
    ModelChangedError,
    ReplicaMismatchError,
    RewardClientError,
    ServerError,
    ServerUnreachableError,
)

T = TypeVar("T")
WorkKind: TypeAlias = Literal["tokenizing", "scoring"]

_NOT_READY = 503

_MAX_PAUSE = 60.0
"""Seconds between two checks of an ejected replica; the first pause is `RESTART_SECONDS`."""


class Replica:
    """One server of a pool.

    Attributes:
        transport: The connection to it.
        monitor: The verified state; the pool admits only states that equal its baseline.
        load: Work in progress by kind: prompts to tokenize, tokens to score.
        memory: Some of the samples that it scored since the last proof.
    """

    def __init__(self, transport: Transport, monitor: ServerMonitor) -> None:
        self.transport = transport
        self.monitor = monitor
        self.load: dict[WorkKind, int] = {"tokenizing": 0, "scoring": 0}
        self.memory = Memory()

    @property
    def dies_of_requests(self) -> bool:
        """True if requests end the server."""
        state = self.monitor.latest
        return state is not None and state.engine.dies_of_requests


Work: TypeAlias = Callable[[Replica, ServerState], Awaitable[T]]
"""A coroutine function that does a piece of work on one replica."""


@dataclass(slots=True)
class _Ejection:
    """When an ejected replica was last checked, and the pause until the next check."""

    pause: float
    checked: float


class _UnfitError(Exception):
    """A replica could not be verified before or after the work."""

    def __init__(self, error: RewardClientError) -> None:
        super().__init__()
        self.error = error


class ReplicaPool:
    """Runs work on the least busy of several equal replicas. Belongs to one event loop.

    The first piece of work discovers and compares all replicas. A replica that fails is ejected and
    checked again later. The last one in rotation is never ejected: it gets all attempts of the
    retry policy.

    Args:
        urls: The servers.
        connect: Opens the transport to a URL. Its second argument tells the transport if another
            replica can take over.
        options: What the caller said about the servers.
        tolerance: The relative and absolute tolerance between rewards of replicas.
        log: Logs a message at a level.

    Attributes:
        changes: How often another model has become the baseline.
        asked_at: When the servers were last asked for the values of their discovery, as a value of
            `time.monotonic`; infinite before the first time.
        unproven: The number of rewards since then.
    """

    def __init__(
        self,
        urls: Sequence[str],
        connect: Callable[[str, Callable[[], bool]], Transport],
        options: DiscoveryOptions,
        tolerance: float,
        log: Callable[[int, str], None],
    ) -> None:
        self._connect = connect
        self._options = options
        self._tolerance = tolerance
        self._log = log
        self.changes = 0
        self.unproven = 0
        self.asked_at = math.inf
        self._baseline: ServerState | None = None
        self._rules: dict[Hashable, ServerState] = {}  # by the way to token IDs
        self._samples: Samples = ()  # none for a single server
        self._founding = asyncio.Lock()
        self._start = SingleFlight()
        self._is_started = False
        self._in_rotation: list[Replica] = []
        self._ejected: dict[Replica, _Ejection] = {}
        self._checks: dict[Replica, asyncio.Task[None]] = {}
        self.replicas = tuple(map(self._new_replica, urls))

    def take_over(self, earlier: ReplicaPool) -> None:
        """Continue with what the pool of an event loop that has ended knew of the same servers."""
        if not earlier._is_started:
            return
        self._baseline, self._samples = earlier._baseline, earlier._samples
        self._rules = earlier._rules.copy()
        self.asked_at, self.unproven = earlier.asked_at, earlier.unproven
        self._is_started = True
        twins = dict(zip(earlier.replicas, self.replicas, strict=True))
        for one, twin in twins.items():
            twin.monitor.take_over(one.monitor)
            twin.memory = one.memory
        self._in_rotation = [twins[one] for one in earlier._in_rotation]
        self._ejected = {twins[one]: replace(each) for one, each in earlier._ejected.items()}

    @property
    def is_started(self) -> bool:
        """True if all replicas were discovered or ejected once."""
        return self._is_started

    @property
    def size(self) -> int:
        """The number of replicas in rotation."""
        return len(self._in_rotation)

    @property
    def baseline(self) -> ServerState:
        """The state that all replicas in rotation equal: the first one's, with the shortest limit.

        Another model, or a shorter length limit, is another object.

        Raises:
            RuntimeError: If no server was discovered yet.
        """
        if self._baseline is None:
            raise RuntimeError("No server was discovered yet.")
        return self._baseline

    async def verified_baseline(self) -> ServerState:
        """Return the current baseline; verify it first if no replica answered recently.

        Raises:
            RewardClientError: If no replica can be discovered, or if replicas differ.
        """
        if self._is_started and any(replica.monitor.current for replica in self._in_rotation):
            return self.baseline

        async def read_baseline(_: Replica, __: ServerState) -> ServerState:
            return self.baseline

        return await self.run(read_baseline, "tokenizing", 0)

    def rules_for(self, own: ServerState) -> ServerState:
        """Return the state by which a replica tokenizes: that of the first one with the same way.

        What is proven for one of them holds for all.
        """
        if own.way not in self._rules:
            self._rules[own.way] = own.with_limits_of(self.baseline)
        return self._rules[own.way]

    async def states(self) -> tuple[ServerState, ...]:
        """Return the verified states of the replicas in rotation.

        Raises:
            RewardClientError: If no replica can be discovered, or if replicas differ.
        """
        await self._ensure_started()
        states: list[ServerState] = []
        for replica in [replica for replica in self.replicas if replica in self._in_rotation]:
            try:
                states.append(await replica.monitor.state())
            except RewardClientError as error:
                if not await self._eject(replica, error):
                    raise
        return tuple(states)

    async def run(self, work: Work[T], kind: WorkKind, size: int) -> T:
        """Return the result of work on one replica; move it to another replica after a failure.

        A result counts only if the same server was there from beginning to end. If another one may
        have taken its place, the pool verifies that and repeats the work if need be.

        Args:
            work: The work.
            kind: The kind of load that it puts on the replica.
            size: The amount of that load.

        Raises:
            RewardClientError: The error of the work, or of the last replica that failed.
        """
        changes = deaths = 0
        while True:
            await self._ensure_started()
            replica = self._least_busy(kind)
            is_last = not self.has_others(replica)  # its transport then makes all attempts
            replica.load[kind] += size
            try:
                result = await self._attempt(replica, work, repeated=changes > 0)
            except _UnfitError as unfit:
                error = unfit.error
            except SERVER_FAILURES as failure:
                error = failure
                deaths += _may_have_killed(failure)
                if deaths and kind == "scoring" and not is_last and replica.dies_of_requests:
                    await self._eject(replica, error)
                    raise _suspected(replica.transport.url, failure) from failure
            else:
                if not isinstance(result, _Changed):
                    return result
                changes += 1
                if changes == MAX_CHANGES:
                    raise keeps_changing(replica.transport.url)
                continue
            finally:
                replica.load[kind] -= size
            is_ejected = await self._eject(replica, error)
            if deaths == MAX_DEATHS or (is_last and not is_ejected):
                raise error

    async def prove(self) -> None:
        """Ensure that the servers in rotation still do what they did at their discovery.

        Raises:
            ModelChangedError: If one does not.
            RewardClientError: If one cannot be asked.
        """
        changes = self.changes
        self.unproven = 0
        self.asked_at = time.monotonic()
        await together(map(self._prove, tuple(self._in_rotation)))
        if self.changes != changes:
            raise ModelChangedError("Another model answers than at the start of the call.")

    async def _prove(self, replica: Replica) -> None:
        transport, state = replica.transport, await replica.monitor.state()
        remembered = replica.memory.take(state)
        contradicted = None
        try:
            changed = await difference(transport, state)
            if changed is None:
                contradicted = await contradiction(transport, state, remembered)
        except OtherModelError:
            changed = "a response names another model"
        if changed is not None:
            transport.mark_lost()
            raise ModelChangedError(
                f"Another model answers at {transport.url} than at the start of the call: "
                f"{changed}. Give each server an address of its own, and change no server under a "
                "call."
            )
        if contradicted is not None:
            transport.mark_lost()
            raise ModelChangedError(
                f"Several models answer at {transport.url}, or rewards come in the wrong places: "
                f"{contradicted}. Give each server an address of its own, or connect to the server "
                "itself."
            )

    async def aclose(self) -> None:
        """Stop the checks of ejected replicas, and wait until they have stopped."""
        checks = tuple(self._checks.values())
        for check in checks:
            check.cancel()
        if checks:
            await asyncio.wait(checks)

    def has_others(self, replica: Replica) -> bool:
        """Return True if any other replica is in rotation."""
        return len(self._in_rotation) > (replica in self._in_rotation)

    def _new_replica(self, url: str) -> Replica:
        def another_can_take_over() -> bool:
            return self.has_others(replica)

        async def discover_and_admit() -> ServerState:
            state = await discover(transport, self._options)
            self._log(logging.INFO, f"server profile: {state.profile!r}")
            await self._admit(replica, state)
            return state

        transport = self._connect(url, another_can_take_over)
        monitor = ServerMonitor(transport, self._options.model, discover_and_admit)
        replica = Replica(transport, monitor)
        return replica

    async def _ensure_started(self) -> None:
        if not self._is_started:
            await self._start.run(self._discover_all)

    async def _discover_all(self) -> None:
        """Discover all replicas, and eject those that cannot be reached.

        Raises:
            RewardClientError: If no replica can be reached, or one is wrong.
        """
        if self._is_started:
            return
        outcomes = await asyncio.gather(
            *(replica.monitor.state() for replica in self.replicas), return_exceptions=True
        )
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        wrong = [error for error in errors if not isinstance(error, SERVER_FAILURES)]
        if wrong or len(errors) == len(outcomes):
            error = (wrong or errors)[0]
            # The frames of the discovery say nothing to callers; those of a bug do.
            raise error.with_traceback(None) if isinstance(error, RewardClientError) else error
        for replica, outcome in zip(self.replicas, outcomes, strict=True):
            if isinstance(outcome, RewardClientError):
                self._take_out(replica, outcome)
        self._is_started = True

    async def _admit(self, replica: Replica, state: ServerState) -> None:
        """Put a discovered replica into rotation if it equals the baseline.

        The first replica sets the baseline; so does one that differs while no other is in rotation.
        An ejected replica stays out until its next check.

        Raises:
            ReplicaMismatchError: If the replica differs from the others.
            RewardClientError: If the comparison fails.
        """
        async with self._founding:
            if self._baseline is None:
                await self._set_baseline(replica, state)
                self._put_in(replica)
                return
        try:
            await self._compare(self._baseline, replica, state)
        except ReplicaMismatchError:
            if self.has_others(replica):
                raise
            await self._set_baseline(replica, state)
        self._put_in(replica)

    async def _set_baseline(self, replica: Replica, state: ServerState) -> None:
        if len(self.replicas) > 1:
            self._samples = await first_fingerprints(replica.transport, state)
        self.changes += self._baseline is not None
        self._found(state)
        self.asked_at = time.monotonic()

    def _found(self, baseline: ServerState) -> None:
        self._baseline = baseline
        self._rules = {baseline.way: baseline}

    async def _compare(self, baseline: ServerState, replica: Replica, state: ServerState) -> None:
        samples = self._samples
        if not samples:
            if not state.is_same_as(baseline):
                raise ReplicaMismatchError(f"{replica.transport.url} is another server now.")
            return
        first, fingerprint = await both_fingerprints(replica.transport, state, samples)
        other = next((other for other in self._in_rotation if other is not replica), None)
        if other is not None:  # all in rotation equal the first one, which may be this one
            profile = first.profile.model_copy(update={"url": other.transport.url})
            first = replace(first, profile=profile)
        remark = compare(first, fingerprint, self._tolerance)
        if remark is not None:
            self._log(logging.WARNING, remark)
        if self._samples is samples:  # still the same model
            narrower = self.baseline.with_limits_of(state)
            if narrower is not self._baseline:
                self._found(narrower)

    def _put_in(self, replica: Replica) -> None:
        if replica not in self._in_rotation and replica not in self._ejected:
            self._in_rotation.append(replica)

    def _least_busy(self, kind: WorkKind) -> Replica:
        if self._ejected:
            self._check_ejected(after_pause=True)
        if len(self._in_rotation) == 1:
            return self._in_rotation[0]
        # A random one of those that are equally busy: many clients must not all begin with the
        # first.
        chance = random.random
        return min(self._in_rotation, key=lambda replica: (replica.load[kind], chance()))

    async def _attempt(self, replica: Replica, work: Work[T], *, repeated: bool) -> T | _Changed:
        """Return the result of the work, or `_CHANGED` if another server is or may be there now.

        Args:
            replica: The replica.
            work: The work.
            repeated: True if the server changed under the work before. An error then counts.
        """
        monitor = replica.monitor
        current = monitor.current
        state = await _verified(monitor.state()) if current is None else current
        try:
            result = await work(replica, state)
        except OtherModelError:
            replica.transport.mark_lost()
            return _CHANGED
        except WRONG_ADDRESSEE as error:
            if isinstance(error, MAY_BE_ANOTHER_SERVER) and not repeated:
                replica.transport.mark_lost()
                return _CHANGED
            if await _verified(monitor.still_serves(state)):
                raise
            return _CHANGED
        if not (monitor.holds(state) or await _verified(monitor.still_serves(state))):
            return _CHANGED
        monitor.note_response()
        return result

    async def _eject(self, replica: Replica, error: RewardClientError) -> bool:
        """Take a failed replica out of rotation if another one can take over."""
        if not self.has_others(replica):
            self._check_ejected(after_pause=False)
            if self._checks:
                await asyncio.wait(tuple(self._checks.values()))
            if not self.has_others(replica):
                return False
        self._take_out(replica, error)
        return True

    def _take_out(self, replica: Replica, error: RewardClientError) -> None:
        if replica in self._ejected:
            return
        if replica in self._in_rotation:
            self._in_rotation.remove(replica)
        replica.transport.mark_lost()  # it is discovered and compared again before its next work
        self._ejected[replica] = _Ejection(RESTART_SECONDS, time.monotonic())
        self._log(logging.WARNING, f"{replica.transport.url} is out of rotation: {_named(error)}")

    def _check_ejected(self, *, after_pause: bool) -> None:
        """Check ejected replicas in the background, those whose pause is over."""
        now = time.monotonic()
        for replica, ejection in self._ejected.items():
            pause = ejection.pause if after_pause else RESTART_SECONDS
            if replica not in self._checks and now - ejection.checked >= pause:
                check = asyncio.create_task(self._check(replica, ejection))
                self._checks[replica] = check
                check.add_done_callback(partial(self._forget_check, replica))

    def _forget_check(self, replica: Replica, _: asyncio.Task[None]) -> None:
        del self._checks[replica]

    async def _check(self, replica: Replica, ejection: _Ejection) -> None:
        try:
            await replica.monitor.state()
        except Exception as error:  # noqa: BLE001 - a caller's transport may raise anything
            ejection.pause = min(2 * ejection.pause, _MAX_PAUSE)
            ejection.checked = time.monotonic()
            if not isinstance(error, SERVER_FAILURES):
                url = replica.transport.url
                self._log(logging.WARNING, f"{url} stays out of rotation: {_named(error)}")
        else:
            del self._ejected[replica]
            self._put_in(replica)
            self._log(logging.INFO, f"{replica.transport.url} is back in rotation")


class _Changed:
    """The server changed under a piece of work."""


_CHANGED = _Changed()


async def _verified(verification: Awaitable[T]) -> T:
    try:
        return await verification
    except RewardClientError as error:
        raise _UnfitError(error) from error


def _may_have_killed(error: RewardClientError) -> bool:
    """Return True if a server may have died of the work: the work had reached it."""
    if isinstance(error, ServerUnreachableError):
        return bool(error.attempts)  # the connection was cut before, and then refused
    return not (isinstance(error, ServerError) and error.status == _NOT_READY)


def _suspected(url: str, failure: RewardClientError) -> ServerUnreachableError:
    """Return the error for samples that may have killed a server, and would kill the next one."""
    error = ServerUnreachableError(
        f"{url} died while it scored samples of this request, and one of them may have killed it. "
        "They were not sent to another server. Check them, and score them again.",
        endpoint=failure.endpoint,
        request_id=failure.request_id,
    )
    error.attempts = failure.attempts
    return error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
