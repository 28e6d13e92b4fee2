"""Many samples: bounded concurrency, order, failures."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter, deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Sized,
)
from copy import copy
from functools import partial
from itertools import islice
from operator import itemgetter
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Literal, NoReturn, Self, TypeAlias, TypeVar
from weakref import finalize

from reward_client._base.progress import progress_bar
from reward_client._base.ranking import Ranking
from reward_client._base.results import Reward, ScoreResult
from reward_client._base.samples import Given, Sample, parse
from reward_client._client.failures import warn_of_failures
from reward_client._client.watch import Watch
from reward_client.errors import (
    BatchError,
    ModelChangedError,
    RewardClientError,
    TokenizerUnavailableError,
)

if TYPE_CHECKING:
    from tqdm import tqdm

Bar: TypeAlias = "tqdm[NoReturn]"
OnError: TypeAlias = Literal["raise", "return"]
Outcome: TypeAlias = Reward | RewardClientError

WorkT = TypeVar("WorkT")
ResultT = TypeVar("ResultT")

_UNIT = "conv"
_READ_AT_ONCE = 32
"""Samples that are read in one turn of the event loop, if reading them never waits."""


class Window(Generic[WorkT, ResultT]):
    """Samples in progress and outcomes not yet taken, at most `size` of both together.

    A sample may be any work that the watch has a result for, such as responses to rank. A window
    belongs to one event loop and owns its tasks: none of them spans a yield of a caller. Samples
    that are started together form a group; one task scores each group.

    Args:
        watch: Scores a group of samples, and proves the servers.
        size: The number of samples in the window.
        group_size: The most samples of a group.
        joins_group: Returns False for a sample that needs requests of its own: it is a group of its
            own, so that its outcome waits for no other sample.
        ordered: True to take outcomes in the order of the samples, False as they come.

    Attributes:
        failures: The errors that were taken, by the names of their classes. The window warns of
            them when it closes, unless whoever took them clears the counts.
        proven: The number of samples taken when the servers were last proven.
    """

    def __init__(
        self,
        watch: Watch[WorkT, ResultT],
        size: int,
        group_size: int,
        joins_group: Callable[[WorkT], bool],
        *,
        ordered: bool,
    ) -> None:
        self._watch = watch
        self._unproven = array("I")
        self._size = size
        self._group_size = group_size
        self._joins_group = joins_group
        self._ordered = ordered
        self._group: list[WorkT] = []
        self._started = 0
        self._taken = 0
        self._running: set[asyncio.Task[None]] = set()
        # By the samples' numbers; None for samples that were stopped.
        self._outcomes: dict[int, ResultT | Exception | None] = {}
        self._changed = asyncio.Event()
        self._ended = False
        self.failures: Counter[str] = Counter()
        self.proven = 0

    @property
    def waiting(self) -> int:
        """The number of samples that were given and not taken."""
        return self._started + len(self._group) - self._taken

    @property
    def room(self) -> int:
        """The number of samples that can start before an outcome must be taken."""
        return self._size - self.waiting

    @property
    def ready(self) -> bool:
        """True if `take` returns an outcome at once."""
        return self._taken in self._outcomes if self._ordered else bool(self._outcomes)

    def start(self, samples: Iterable[WorkT]) -> None:
        """Start to score samples, in groups with those that start in the same turn of the loop."""
        is_scheduled = bool(self._group)
        for sample in samples:
            joins = self._joins_group(sample)
            if not joins:
                self._start_group()
            self._group.append(sample)
            if not joins or len(self._group) == self._group_size:
                self._start_group()
        if self._group and not is_scheduled:
            asyncio.get_running_loop().call_soon(self._start_group)

    async def submit(self, samples: Iterable[WorkT]) -> None:
        """Start samples, for a caller on another thread."""
        self.start(samples)

    def end(self) -> None:
        """Note that no sample follows, so that `take` can tell the end."""
        self._ended = True
        self._changed.set()

    async def take(self) -> dict[int, ResultT | RewardClientError]:
        """Return all outcomes that are there, by their samples' numbers; wait for the first one.

        Returns:
            An empty dictionary after the last outcome, or if closed.

        Raises:
            ModelChangedError: If the server is not that of the start any more.
            TokenizerUnavailableError: If the local tokenizer cannot be loaded.
            Exception: An error that does not belong to this package, from a sample.
        """
        await self.prove(at_end=False)
        while not self.ready:
            if self._ended and not self._group and not self._running:
                return {}
            self._changed.clear()
            await self._changed.wait()
        return self.take_ready()

    def take_ready(self) -> dict[int, ResultT | RewardClientError]:
        """Return the outcomes that are there already.

        Raises:
            Exception: As `take`, before any outcome.
        """
        taken: dict[int, ResultT | RewardClientError] = {}
        for index in self._ready_indices():
            outcome = self._outcomes[index]
            if isinstance(outcome, Exception) and (
                isinstance(outcome, TokenizerUnavailableError)
                or not isinstance(outcome, RewardClientError)
            ):
                if taken:
                    break  # these first
                raise outcome
            self._taken += 1
            del self._outcomes[index]
            if outcome is None:
                continue
            taken[index] = outcome
            if isinstance(outcome, Exception):
                self.failures[type(outcome).__name__] += 1
            else:
                self._unproven.append(index)
        return taken

    async def prove(self, *, at_end: bool) -> None:
        """Ensure that the servers have not changed since the start, if that is due.

        Raises:
            ModelChangedError: If one has.
        """
        try:
            if await self._watch.prove(at_end=at_end, taken=self._unproven):
                del self._unproven[:]
                self.proven = self._taken
        except ModelChangedError as error:
            del self._unproven[:]
            self.failures[type(error).__name__] += len(error.doubtful)
            for index, outcome in self._outcomes.items():
                self._outcomes[index] = None if outcome is None else self._watch.refused(outcome)
            raise

    async def aclose(self) -> None:
        """Stop all samples in progress, and wait until they have stopped."""
        running = self._cancel()
        if running:
            await asyncio.wait(running)
        self._close()

    def abandon(self, on_end: Callable[[], None]) -> None:
        """Stop all samples in progress, without a task that a loop might end before its time.

        Args:
            on_end: The function to call when they have stopped.
        """
        running = {*self._cancel()}

        def end() -> None:
            self._close()
            on_end()

        def discard(task: asyncio.Task[None]) -> None:
            running.discard(task)
            if not running:
                end()

        for task in tuple(running):
            task.add_done_callback(discard)
        if not running:
            end()

    def _cancel(self) -> tuple[asyncio.Task[None], ...]:
        self._group.clear()
        running = tuple(self._running)
        for task in running:
            task.cancel()
        return running

    def _close(self) -> None:
        self.end()
        warn_of_failures(self.failures, self._taken, "samples")
        self.failures.clear()

    def _ready_indices(self) -> Iterable[int]:
        if not self._ordered:
            return tuple(self._outcomes)
        end = self._taken
        while end in self._outcomes:
            end += 1
        return range(self._taken, end)

    def _start_group(self) -> None:
        group, self._group = self._group, []
        if group:
            task = asyncio.create_task(self._run_group(self._started, group))
            self._started += len(group)
            self._running.add(task)
            task.add_done_callback(self._end_group)

    async def _run_group(self, first: int, group: Sequence[WorkT]) -> None:
        outcomes: Sequence[ResultT | Exception | None] = [None] * len(group)
        try:
            outcomes = await self._watch.score(group)
        except Exception as error:  # noqa: BLE001 - raised to whoever takes the outcome
            outcomes = [copy(error) for _ in group]
        finally:
            self._outcomes.update(enumerate(outcomes, start=first))
            self._changed.set()

    def _end_group(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._changed.set()


class _Feeder(Generic[WorkT, ResultT]):
    """Reads samples into a window, as there is room. It knows nothing of whoever takes outcomes."""

    def __init__(
        self, window: Window[WorkT, ResultT], samples: Iterable[WorkT] | AsyncIterable[WorkT]
    ) -> None:
        self._window = window
        self._samples = samples
        self._has_room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start to read, unless that has begun."""
        if self._task is None:
            self._task = asyncio.create_task(self._feed())

    def note_room(self) -> None:
        """Note that outcomes were taken."""
        self._has_room.set()

    async def aclose(self) -> None:
        """Stop reading, and scoring what was read."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,))
        await self._window.aclose()

    def raise_failure(self) -> None:
        """Raise what reading the samples raised."""
        if self._task is not None and not self._task.cancelled():
            self._task.result()

    def abandon(self, on_end: Callable[[], None]) -> None:
        """Stop reading and scoring, on the loop of the samples; may be called anywhere.

        Args:
            on_end: The function to call when all has stopped.
        """
        task = self._task
        if task is None:
            on_end()
            return

        def stop() -> None:
            task.cancel()
            self._window.abandon(on_end)

        try:
            task.get_loop().call_soon_threadsafe(stop)
        except RuntimeError:  # the loop is closed, and has stopped all
            on_end()

    async def _feed(self) -> None:
        try:
            if isinstance(self._samples, AsyncIterable):
                async for sample in self._samples:
                    self._window.start([sample])
                    await self._room()
            else:
                samples = iter(self._samples)
                while self._read(samples):
                    await asyncio.sleep(0)
                    await self._room()
        finally:
            self._window.end()

    def _read(self, samples: Iterator[WorkT]) -> bool:
        """Start the next samples; return False after the last one."""
        count = min(_READ_AT_ONCE, self._window.room)
        read: list[WorkT] = []
        try:
            read.extend(islice(samples, count))
        finally:  # also those before an error of the iterator
            self._window.start(read)
        return len(read) == count

    async def _room(self) -> None:
        while self._window.room <= 0:
            self._has_room.clear()
            await self._has_room.wait()


class Intake(Generic[WorkT, ResultT]):
    """Reads samples into a window, as there is room, and takes their outcomes.

    Leaving the context, or closing it, stops the samples in progress.
    """

    def __init__(
        self,
        window: Window[WorkT, ResultT],
        samples: Iterable[WorkT] | AsyncIterable[WorkT],
        bar: Bar | None,
    ) -> None:
        self._window = window
        self._feeder = _Feeder(window, samples)
        self._bar = bar
        self._closed = False

    async def take(self) -> dict[int, ResultT | RewardClientError]:
        """Return all outcomes that are there; wait for the first one. None of them at the end."""
        if self._closed:
            return {}
        self._feeder.start()
        outcomes = await self._window.take()
        self._feeder.note_room()
        if not outcomes:
            await self._window.prove(at_end=True)
            await self.aclose()
            self._feeder.raise_failure()
        elif self._bar is not None:
            self._bar.update(len(outcomes))
        return outcomes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading and scoring samples."""
        self._closed = True
        if self._bar is not None:
            self._bar.close()
        await self._feeder.aclose()


class ParsedEach(AsyncIterator[Given]):
    """Checks samples as they are read."""

    def __init__(self, samples: AsyncIterable[Sample]) -> None:
        self._samples = aiter(samples)

    async def __anext__(self) -> Given:
        return parse(await anext(self._samples))


class AsyncRewardStream(Intake[Given, Reward]):
    """Results of a stream of samples: an async iterator and an async context manager.

    Leaving the context, or closing the stream, stops the samples in progress. So does forgetting
    it.
    """

    def __init__(
        self,
        window: Window[Given, Reward],
        samples: Iterable[Given] | AsyncIterable[Given],
        bar: Bar | None,
        on_end: Callable[[Exception | None], None],
    ) -> None:
        super().__init__(window, samples, bar)
        self._on_end = on_end
        self._error: Exception | None = None
        self._taken: deque[ScoreResult] = deque()
        self._forgotten = finalize(self, self._feeder.abandon, partial(on_end, None))
        self._forgotten.atexit = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ScoreResult:
        if not self._taken:
            taken = await self.take()
            self._taken += [result_of(index, outcome) for index, outcome in taken.items()]
        if not self._taken:
            raise StopAsyncIteration
        return self._taken.popleft()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._error = error if isinstance(error, Exception) else None
        await self.aclose()

    async def aclose(self) -> None:
        """Stop reading and scoring samples."""
        try:
            await super().aclose()
        finally:
            self._forgotten.detach()
            self._on_end(self._error)


def sample_name(index: int) -> str:
    """Return the name of a sample in errors."""
    return f"Sample {index}"


async def collect(
    window: Window[WorkT, ResultT],
    samples: Iterable[WorkT],
    *,
    on_error: OnError,
    bar: Bar | None = None,
    name: Callable[[int], str] = sample_name,
) -> list[ResultT | RewardClientError]:
    """Return the outcomes of all samples, in their order.

    Args:
        window: Scores the samples; not ordered, so that no sample waits for another.
        samples: The samples.
        on_error: Stop at the first failure, or put the error in the sample's place.
        bar: The progress bar, if one is shown.
        name: Returns the name of a sample for the error, by its number.

    Raises:
        BatchError: If a sample failed and ``on_error`` is ``"raise"``; it holds all rewards so far.
    """
    outcomes: dict[int, ResultT | RewardClientError] = {}
    async with Intake(window, samples, bar) as stream:
        while True:
            try:
                taken = await stream.take()
            except ModelChangedError as error:
                for index in error.doubtful:
                    del outcomes[index]
                if on_error == "raise":
                    _refuse_change(error, outcomes, window)
                outcomes |= {index: copy(error) for index in error.doubtful}
                continue
            if not taken:
                break
            outcomes |= taken
            if on_error == "raise":
                _refuse_failure(taken, outcomes, window, name)
    return [outcomes[index] for index in range(len(outcomes))]


def _refuse_failure(
    taken: Mapping[int, ResultT | RewardClientError],
    outcomes: Mapping[int, ResultT | RewardClientError],
    window: Window[WorkT, ResultT],
    name: Callable[[int], str],
) -> None:
    for index, error in taken.items():
        if isinstance(error, RewardClientError):
            done = {**outcomes, **window.take_ready()}
            scored = _scored(done)
            window.failures.clear()
            kept = f"{len(scored)} were scored (they are in error.results)"
            ranked = sum([isinstance(each, Ranking) for each in done.values()])
            if ranked:
                kept = f'{ranked} were ranked (on_error="return" keeps them)'
            raise BatchError(
                f"{name(index)} failed, after {kept}: {error}", results=scored
            ) from error


def _refuse_change(
    error: ModelChangedError,
    outcomes: Mapping[int, ResultT | RewardClientError],
    window: Window[WorkT, ResultT],
) -> NoReturn:
    scored = _scored(outcomes)
    window.failures.clear()
    raise BatchError(
        f"{error} The {len(scored)} proven rewards are in error.results.", results=scored
    ) from error


def _scored(outcomes: Mapping[int, object]) -> tuple[ScoreResult, ...]:
    return tuple(
        ScoreResult(place, outcome, None)
        for place, outcome in sorted(outcomes.items(), key=itemgetter(0))
        if isinstance(outcome, Reward)
    )


def result_of(index: int, outcome: Outcome) -> ScoreResult:
    """Return the outcome as the result that callers see."""
    if isinstance(outcome, Reward):
        return ScoreResult(index, outcome, None)
    return ScoreResult(index, None, outcome)


def samples_bar(samples: object, unit: str = _UNIT) -> Bar:
    """Return a bar that counts samples, with their total if it is known."""
    return progress_bar(total=len(samples) if isinstance(samples, Sized) else None, unit=unit)
