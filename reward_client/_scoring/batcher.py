"""Samples that share a request: gathered, sent, taken apart where the server refuses them."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from operator import attrgetter
from typing import Generic, Protocol, TypeAlias, TypeVar

from reward_client._base.options import Limits
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Transport
from reward_client._replicas.pool import MAY_BE_ANOTHER_SERVER, Baseline, Replica, ReplicaPool
from reward_client._scoring.bisect import ONE_MAY_CAUSE, each_outcome
from reward_client._server.requests import scored
from reward_client._server.state import ServerState
from reward_client._tokenization import Tokenized
from reward_client.errors import RewardClientError
from reward_client.heads import Scores


class Batchable(Protocol):
    """What can share a request with others."""

    @property
    def size(self) -> int:
        """How much of a request it is, in tokens."""
        ...

    @property
    def key(self) -> Hashable:
        """Equal for those that are scored alike: they are sent once."""
        ...


ItemT = TypeVar("ItemT", bound=Batchable)

Scored: TypeAlias = tuple[ServerState, Scores]
"""What came for a sample, and the server that it came from."""

Hear: TypeAlias = Callable[[Mapping[int, Scored | Exception | None]], None]
"""Takes the outcomes of samples by their numbers: None where the servers are others now."""

Outcome: TypeAlias = Scores | RewardClientError
Post: TypeAlias = Callable[[Transport, ServerState, Sequence[ItemT]], Awaitable[list[Outcome]]]
"""Has samples scored in one request."""

_CLOSED = "The client was closed while this call was under way."

_MOST_PACKS = 8
_MOST_SAMPLES = 256
"""Packs under way at a time for each server in use, more where few samples fill one."""

_MOST_PARTIAL = 2
"""One that is not full leaves only while there are fewer under way for each server. Those that wait
meanwhile make it fuller: a server that has nothing to do gets a single sample at once, and one that
tokenizes too is not asked for each by itself."""


class _Order:
    """Samples that were given together, and who hears of them."""

    def __init__(self, hear: Hear, count: int) -> None:
        self._hear = hear
        self._left = count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, outcomes: Mapping[int, Scored | Exception | None]) -> None:
        if self.done.done():
            return
        try:
            self._hear(outcomes)
        except Exception as error:  # noqa: BLE001 - else it would keep the pack's others waiting
            self.done.set_exception(error)
            return
        self._left -= len(outcomes)
        if self._left == 0:
            self.done.set_result(None)


@dataclass(eq=False, slots=True)
class _Waiting(Generic[ItemT]):
    """A sample, and who waits for its outcome: several, where several gave the same one."""

    key: Hashable
    baseline: Baseline
    sample: ItemT
    size: int
    takers: list[tuple[_Order, int]]
    batch: Sequence[_Waiting[ItemT]] = ()
    task: asyncio.Task[None] | None = None


_SIZE = attrgetter("size")


class Batcher(Generic[ItemT]):
    """Has samples scored, several in a request; belongs to one event loop.

    There is one line for all servers: whichever is the least busy gets the next pack.

    Args:
        pool: The servers.
        limits: How much goes into a request.
        post: Sends one.
    """

    def __init__(self, pool: ReplicaPool, limits: Limits, post: Post[ItemT]) -> None:
        self._pool = pool
        self._limits = limits
        self._post = post
        most = max(_MOST_PACKS, _MOST_SAMPLES // limits.max_batch_items)
        self._most = min(most, limits.max_concurrency)
        self._line: deque[_Waiting[ItemT]] = deque()
        self._known: dict[Hashable, _Waiting[ItemT]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: set[asyncio.Task[None]] = set()
        self._is_called = False
        self._closed = False

    async def score(self, baseline: Baseline, samples: Mapping[int, ItemT], hear: Hear) -> None:
        """Has samples scored; returns when all of them were heard of.

        Args:
            baseline: What the servers were equal to when the samples were made.
            samples: The samples, each by its number.
            hear: Is told what a server's head reads for each, or the error, as of
                `ReplicaPool.at_one`.
        """
        if not samples:
            return
        if self._closed:
            hear({number: RewardClientError(_CLOSED) for number in samples})
            return
        order = _Order(hear, len(samples))
        mine: list[_Waiting[ItemT]] = []
        for number, sample in samples.items():
            key = id(baseline), sample.key
            waiting = self._known.get(key)
            if waiting is None:
                waiting = self._known[key] = _Waiting(
                    key, baseline, sample, sample.size, [(order, number)]
                )
                self._line.append(waiting)
            else:
                waiting.takers.append((order, number))
            mine.append(waiting)
        if not self._is_called:
            # All that become ready in this turn of the loop go together.
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._send)
        try:
            await order.done
        except asyncio.CancelledError:
            order.done.cancel()
            for waiting in mine:
                waiting.takers = [taker for taker in waiting.takers if taker[0] is not order]
            for waiting in mine:
                await self._stop_unwanted(waiting)
            raise

    async def aclose(self) -> None:
        """Stops what is under way, and waits until it has stopped."""
        self._closed = True
        line = tuple(self._line)
        self._line.clear()
        self._settle(line, repeat(RewardClientError(_CLOSED)))
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _stop_unwanted(self, waiting: _Waiting[ItemT]) -> None:
        """Stops a request whose outcome nobody waits for any more, and waits until it has."""
        if waiting.task is None or any(other.takers for other in waiting.batch):
            return
        for other in waiting.batch:
            self._forget(other)
        waiting.task.cancel()
        await asyncio.wait((waiting.task,))

    def _forget(self, waiting: _Waiting[ItemT]) -> None:
        if self._known.get(waiting.key) is waiting:
            del self._known[waiting.key]

    def _send(self) -> None:
        self._is_called = False
        while self._may_send() and (batch := self._next()):
            task = asyncio.create_task(self._score(batch))
            self._tasks.add(task)
            self._in_flight.add(task)
            # Not at the end of `_score`: one that is cancelled at once never begins.
            task.add_done_callback(partial(self._ended, batch))
            for waiting in batch:
                waiting.batch, waiting.task = batch, task

    def _may_send(self) -> bool:
        servers, line, limits = self._pool.size, self._line, self._limits
        if len(self._in_flight) < min(_MOST_PARTIAL, self._most) * servers:
            return True
        is_full = len(line) >= limits.max_batch_items or (
            sum(map(_SIZE, line)) >= limits.max_batch_tokens
        )
        return is_full and len(self._in_flight) < self._most * servers

    def _next(self) -> list[_Waiting[ItemT]]:
        """The first of the line, and those after it that go along; none if nobody waits."""
        line = self._line
        batch: list[_Waiting[ItemT]] = []
        tokens = 0
        while line and len(batch) < self._limits.max_batch_items:
            waiting = line[0]
            if not waiting.takers:
                self._forget(line.popleft())
                continue
            tokens += waiting.size
            if batch and (
                tokens > self._limits.max_batch_tokens or waiting.baseline is not batch[0].baseline
            ):
                break
            batch.append(line.popleft())
        return batch

    async def _score(self, batch: list[_Waiting[ItemT]]) -> None:
        async def each_scored(
            server: Replica, serving: ServerState
        ) -> tuple[ServerState, Sequence[Outcome]] | None:
            if self._pool.baseline is not batch[0].baseline:
                return None
            samples = [waiting.sample for waiting in batch]
            return serving, await self._outcomes(server, serving, samples)

        tokens = sum(map(_SIZE, batch))
        try:
            found = await self._pool.at_one(each_scored, "scoring", tokens)
        except Exception as error:  # noqa: BLE001 - a caller's transport may raise anything
            self._settle(batch, repeat(error))
            return
        # The next request leaves before rewards are made of this one's reply: that takes time, in
        # which the server would have nothing to do.
        self._answered(asyncio.current_task())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if found is None:
            self._settle(batch, repeat(None))
            return
        serving, each = found
        outcomes: list[Scored | Exception] = [
            outcome if isinstance(outcome, RewardClientError) else (serving, outcome)
            for outcome in each
        ]
        self._settle(batch, outcomes)

    def _settle(
        self, batch: Sequence[_Waiting[ItemT]], outcomes: Iterable[Scored | Exception | None]
    ) -> None:
        """Tells all who wait for a pack: each of them once, as that is done for every sample."""
        heard: defaultdict[_Order, dict[int, Scored | Exception | None]] = defaultdict(dict)
        for waiting, outcome in zip(batch, outcomes, strict=False):
            self._forget(waiting)
            takers, waiting.takers = waiting.takers, []
            for order, number in takers:
                heard[order][number] = copy(outcome) if isinstance(outcome, Exception) else outcome
        for order, found in heard.items():
            order.settle(found)

    def _answered(self, task: asyncio.Task[None] | None) -> None:
        if task in self._in_flight:
            self._in_flight.remove(task)
            self._send()

    def _ended(self, batch: list[_Waiting[ItemT]], task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # Those that wait for it still: it was stopped, as only closing does while anyone waits.
        self._settle(batch, repeat(RewardClientError(_CLOSED)))
        for waiting in batch:
            # Else it holds its pack and the pack it, with all token IDs, until a collection.
            waiting.batch, waiting.task = (), None
        self._answered(task)

    async def _outcomes(
        self, server: Replica, serving: ServerState, samples: Sequence[ItemT]
    ) -> list[Outcome]:
        """What one server makes of a pack."""
        outcomes = await each_outcome(
            partial(self._post, server.transport, serving),
            samples,
            partial(_is_refused_anything, server, serving),
        )
        if any(isinstance(outcome, MAY_BE_ANOTHER_SERVER) for outcome in outcomes):
            server.transport.mark_lost()
        return outcomes


async def _is_refused_anything(server: Replica, serving: ServerState) -> bool:
    """Whether the server refuses even what it took when it was found out: no sample causes it."""
    if serving.ask.sends == "text":
        return False
    probe = Tokenized(TokenIds.of(serving.probes[0]), 0, None)
    try:
        await scored(server.transport, serving, [probe])
    except ONE_MAY_CAUSE:
        return True
    return False
