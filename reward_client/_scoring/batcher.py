"""Batches: samples that are ready at the same time share a request."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import copy_context
from copy import copy
from functools import partial
from itertools import repeat

from reward_client._base.options import Limits
from reward_client._replicas.pool import Replica, ReplicaPool
from reward_client._scoring.base import Outcome
from reward_client._scoring.bisect import score_each
from reward_client._server.requests import Scorable, reward_of
from reward_client._server.state import ServerState
from reward_client.errors import RewardClientError
from reward_client.heads import Scores

_CLOSED = "The client was closed while this call was in progress."

_MAX_BATCHES = 8
_MAX_SAMPLES = 256
"""Batches in flight for each replica in rotation; more if few samples fill a batch."""

_MAX_PARTIAL = 2
"""A batch that is not full leaves only while fewer are in flight for each replica. Samples that
wait meanwhile make it fuller: an idle server gets a single sample at once, and one that also
tokenizes does not get a request for each sample."""


class _Group:
    """The samples of one call, its context, and a future that is done with the last of them."""

    __slots__ = ("context", "done", "waiting")

    def __init__(self, size: int) -> None:
        self.context = copy_context()
        self.waiting = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Entry:
    """A sample on its way, and the groups that wait for it: equal samples are sent once."""

    __slots__ = ("baseline", "groups", "key", "outcome", "sample", "size")

    def __init__(self, baseline: ServerState, sample: Scorable, key: str, group: _Group) -> None:
        self.baseline = baseline
        self.sample = sample
        self.key = key
        self.size = sample.size
        self.groups = [group]
        self.outcome: Outcome | None = None


class Batcher:
    """Scores samples, several in a request. Belongs to one event loop.

    One queue serves all replicas: the least busy replica gets the next batch.

    Args:
        pool: The servers.
        limits: The size of a batch.
    """

    def __init__(self, pool: ReplicaPool, limits: Limits) -> None:
        self._pool = pool
        self._limits = limits
        batches = max(_MAX_BATCHES, _MAX_SAMPLES // limits.max_batch_items)
        self._max_batches = min(batches, limits.max_concurrency)
        self._queue: deque[_Entry] = deque()
        self._known: dict[str, _Entry] = {}
        self._batches: dict[asyncio.Task[None], list[_Entry]] = {}
        self._in_flight: set[asyncio.Task[None]] = set()
        self._is_woken = False
        self._closed = False

    async def score(
        self, baseline: ServerState, samples: Sequence[Scorable]
    ) -> list[Outcome | None]:
        """Return the outcome of each sample; None if the servers no longer equal the baseline.

        Args:
            baseline: The baseline when the samples were made.
            samples: The samples.
        """
        if not samples:
            return []
        if self._closed:
            return [RewardClientError(_CLOSED) for _ in samples]
        group = _Group(len(samples))
        entries = [self._enqueue(baseline, sample, group) for sample in samples]
        if not self._is_woken:
            # Everything that becomes ready in this turn of the loop goes together.
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._send_batches)
        try:
            await group.done
        except asyncio.CancelledError:
            await self._abandon(group, entries)
            raise
        return [
            copy(entry.outcome) if isinstance(entry.outcome, Exception) else entry.outcome
            for entry in entries
        ]

    async def aclose(self) -> None:
        """Stop the batches in flight, and wait until they have stopped."""
        self._closed = True
        waiting = tuple(self._queue)
        self._queue.clear()
        self._finish(waiting, repeat(RewardClientError(_CLOSED)))
        tasks = tuple(self._batches)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _enqueue(self, baseline: ServerState, sample: Scorable, group: _Group) -> _Entry:
        key = sample.key
        entry = self._known.get(key)
        if entry is not None and entry.baseline is baseline:
            entry.groups.append(group)
            return entry
        entry = self._known[key] = _Entry(baseline, sample, key, group)
        self._queue.append(entry)
        return entry

    async def _abandon(self, group: _Group, entries: Sequence[_Entry]) -> None:
        """Withdraw a group; stop the batches that nobody else waits for."""
        group.done.cancel()
        for entry in entries:
            entry.groups = [other for other in entry.groups if other is not group]
        for task, batch in tuple(self._batches.items()):
            if not task.done() and not any(entry.groups for entry in batch):
                for entry in batch:
                    self._forget(entry)
                task.cancel()
                await asyncio.wait((task,))

    def _forget(self, entry: _Entry) -> None:
        if self._known.get(entry.key) is entry:
            del self._known[entry.key]

    def _send_batches(self) -> None:
        self._is_woken = False
        while self._may_send() and (batch := self._next_batch()):
            # A request is the doing of whoever waits for its first sample. This runs in the context
            # of any call, even of one that has ended.
            context = batch[0].groups[0].context.copy()
            task = asyncio.create_task(self._score_batch(batch), context=context)
            self._batches[task] = batch
            self._in_flight.add(task)
            # Not at the end of `_score_batch`: a task that is cancelled at once never begins.
            task.add_done_callback(self._end_batch)

    def _may_send(self) -> bool:
        replicas, queue, limits = self._pool.size, self._queue, self._limits
        if len(self._in_flight) < min(_MAX_PARTIAL, self._max_batches) * replicas:
            return True
        is_full = len(queue) >= limits.max_batch_items or (
            sum(entry.size for entry in queue) >= limits.max_batch_tokens
        )
        return is_full and len(self._in_flight) < self._max_batches * replicas

    def _next_batch(self) -> list[_Entry]:
        """The first of the queue, and those after it that go along."""
        queue, limits = self._queue, self._limits
        batch: list[_Entry] = []
        tokens = 0
        while queue and len(batch) < limits.max_batch_items:
            entry = queue[0]
            if not entry.groups:
                self._forget(queue.popleft())
                continue
            tokens += entry.size
            if batch and (
                tokens > limits.max_batch_tokens or entry.baseline is not batch[0].baseline
            ):
                break
            batch.append(queue.popleft())
        return batch

    async def _score_batch(self, batch: list[_Entry]) -> None:
        samples = [entry.sample for entry in batch]
        size = sum(entry.size for entry in batch)
        work = partial(self._score_on, batch[0].baseline, samples)
        try:
            scored = await self._pool.run(work, "scoring", size)
        except Exception as error:  # noqa: BLE001 - a caller's transport may raise anything
            self._finish(batch, repeat(error))
            return
        # The next request leaves before rewards are made of this response: that takes time, in
        # which the server would be idle.
        self._leave_flight(asyncio.current_task())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if scored is None:
            self._finish(batch, repeat(None))
            return
        replica, state, each = scored
        replica.memory.note(state, samples, each, size)
        self._finish(
            batch,
            [
                scores if isinstance(scores, Exception) else reward_of(state, sample, scores)
                for sample, scores in zip(samples, each, strict=True)
            ],
        )

    async def _score_on(
        self,
        baseline: ServerState,
        samples: Sequence[Scorable],
        replica: Replica,
        state: ServerState,
    ) -> tuple[Replica, ServerState, list[Scores | RewardClientError]] | None:
        """Score a batch on one replica; return None if the baseline has changed."""
        if self._pool.baseline is not baseline:
            return None
        return replica, state, await score_each(replica.transport, state, samples)

    def _finish(self, batch: Iterable[_Entry], outcomes: Iterable[Outcome | None]) -> None:
        """Store the outcomes; wake the groups whose last sample is done."""
        for entry, outcome in zip(batch, outcomes, strict=False):
            self._forget(entry)
            entry.outcome = outcome
            groups, entry.groups = entry.groups, []
            for group in groups:
                group.waiting -= 1
                if group.waiting == 0 and not group.done.done():
                    group.done.set_result(None)

    def _leave_flight(self, task: asyncio.Task[None] | None) -> None:
        if task in self._in_flight:
            self._in_flight.remove(task)
            self._send_batches()

    def _end_batch(self, task: asyncio.Task[None]) -> None:
        # Whoever still waits for it: it was stopped, as only closing does while anybody waits.
        stopped = [entry for entry in self._batches.pop(task) if entry.groups]
        self._finish(stopped, repeat(RewardClientError(_CLOSED)))
        self._leave_flight(task)
