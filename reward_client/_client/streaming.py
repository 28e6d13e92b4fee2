"""Many samples: bounded concurrency, order, failures. Replaceable: it only needs to score a few."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sized
from copy import copy
from operator import itemgetter
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NoReturn, Self, TypeAlias

from reward_client._base.results import Reward, ScoreResult
from reward_client._base.samples import Sample
from reward_client.errors import BatchError, RewardClientError

if TYPE_CHECKING:
    from tqdm import tqdm


OnError: TypeAlias = Literal["raise", "return"]
Outcome: TypeAlias = Reward | RewardClientError
Settle: TypeAlias = Callable[[Mapping[int, Reward | Exception]], None]
ScoreGroup: TypeAlias = Callable[[Mapping[int, Sample], Settle], Awaitable[None]]
"""Scores samples, and tells outcomes by the samples' numbers as soon as they are there. What it
raises is the outcome of the rest."""

_READ_AT_ONCE = 32
"""Samples that are read before what was read is sent, where reading them never waits."""


class Window:
    """Samples under way, and results that wait to be taken: at most `size` of both together.

    It belongs to one event loop. Its tasks are its own: nothing of it spans a yield of a caller.
    Samples that are started together are scored in groups, a task for each group.

    Args:
        score: Scores a group.
        size: How many samples there may be in it.
        group: How many samples a group may have.
        ordered: Whether results are taken in the order of the samples, or as they come.
    """

    def __init__(self, score: ScoreGroup, size: int, group: int, *, ordered: bool) -> None:
        self._score = score
        self._ordered = ordered
        self._size = size
        self._most = group
        self._group: dict[int, Sample] = {}
        self._started = 0
        self._taken = 0
        self._running: set[asyncio.Task[None]] = set()
        # By the samples' numbers; None for those that were stopped.
        self._outcomes: dict[int, Reward | Exception | None] = {}
        self._news = asyncio.Event()
        self._ended = False

    @property
    def waiting(self) -> int:
        """How many samples were started and not taken."""
        return self._started - self._taken

    @property
    def room(self) -> int:
        """How many samples can be started before a result must be taken."""
        return self._size - self._started + self._taken

    @property
    def ready(self) -> bool:
        """Whether `take` would give a result at once."""
        return self._taken in self._outcomes if self._ordered else bool(self._outcomes)

    def start(self, sample: Sample) -> None:
        """Starts to score a sample, together with those that are started in this turn."""
        self._group[self._started] = sample
        self._started += 1
        if len(self._group) == self._most:
            self._start_group()
        elif len(self._group) == 1:
            asyncio.get_running_loop().call_soon(self._start_group)

    async def begin(self, samples: Iterable[Sample]) -> None:
        """Starts to score samples, for a caller on another thread."""
        for sample in samples:
            self.start(sample)

    def end(self) -> None:
        """Says that no further sample will come, so that `take` can tell the end."""
        self._ended = True
        self._news.set()

    async def take(self) -> list[ScoreResult]:
        """The next results, as of `outcomes`, for a caller on another thread."""
        return [_result(index, outcome) for index, outcome in (await self.outcomes()).items()]

    async def outcomes(self) -> dict[int, Outcome]:
        """The next outcomes by their samples' numbers: all that are there, or the first to come.

        Returns:
            None of them once the end was said and everything was taken, or if closed.

        Raises:
            Exception: What a sample met that is no error of this package.
        """
        while not self.ready:
            if self._ended and not self._group and not self._running:
                return {}
            self._news.clear()
            await self._news.wait()
        return self.finished()

    def finished(self) -> dict[int, Outcome]:
        """The next outcomes that are there already.

        Raises:
            Exception: As `outcomes`, before any outcome.
        """
        found: dict[int, Outcome] = {}
        for index in self._next():
            outcome = self._outcomes[index]
            if isinstance(outcome, Exception) and not isinstance(outcome, RewardClientError):
                if found:
                    break  # these first
                raise outcome
            self._taken += 1
            del self._outcomes[index]
            if outcome is not None:
                found[index] = outcome
        return found

    async def aclose(self) -> None:
        """Stops what is under way, and waits until it has stopped."""
        self._group.clear()
        running = tuple(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        self.end()

    def _next(self) -> Iterable[int]:
        """The numbers of the outcomes that are there to be taken."""
        if not self._ordered:
            return tuple(self._outcomes)
        end = self._taken
        while end in self._outcomes:
            end += 1
        return range(self._taken, end)

    def _start_group(self) -> None:
        group, self._group = self._group, {}
        if group:
            task = asyncio.create_task(self._scored(group))
            self._running.add(task)
            task.add_done_callback(self._finished)

    async def _scored(self, group: Mapping[int, Sample]) -> None:
        left = dict.fromkeys(group)

        def settle(outcomes: Mapping[int, Reward | Exception | None]) -> None:
            for number in outcomes:
                del left[number]
            self._outcomes.update(outcomes)
            self._news.set()

        try:
            await self._score(group, settle)
        except Exception as error:  # noqa: BLE001 - raised to whoever takes the result
            settle({number: copy(error) for number in left})
        finally:
            settle(left.copy())

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._news.set()


class AsyncRewardStream:
    """Results of a stream of samples: an async iterator and an async context manager.

    Leaving the context, or closing the stream, stops what is still under way.
    """

    def __init__(
        self, window: Window, samples: Iterable[Sample] | AsyncIterable[Sample], *, progress: bool
    ) -> None:
        self._window = window
        self._samples = samples
        self._bar = progress_bar(samples) if progress else None
        self._has_room = asyncio.Event()
        self._feeder: asyncio.Task[None] | None = None
        self._taken: deque[ScoreResult] = deque()
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ScoreResult:
        if not self._taken:
            taken = await self.outcomes()
            self._taken += [_result(index, outcome) for index, outcome in taken.items()]
        if not self._taken:
            raise StopAsyncIteration
        return self._taken.popleft()

    async def outcomes(self) -> dict[int, Outcome]:
        """The next outcomes, as many as are there or the first one that comes; none at the end."""
        if self._closed:
            return {}
        if self._feeder is None:
            self._feeder = asyncio.create_task(self._feed())
        outcomes = await self._window.outcomes()
        self._has_room.set()
        if not outcomes:
            feeder = self._feeder
            await self.aclose()
            if not feeder.cancelled():
                feeder.result()  # raises what reading the samples raised
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
        """Stops reading samples and scoring them."""
        self._closed = True
        if self._bar is not None:
            self._bar.close()
        if self._feeder is not None and not self._feeder.done():
            self._feeder.cancel()
            await asyncio.wait((self._feeder,))
        await self._window.aclose()

    async def _feed(self) -> None:
        try:
            if isinstance(self._samples, AsyncIterable):
                async for sample in self._samples:
                    self._window.start(sample)
                    await self._room()
            else:
                for number, sample in enumerate(self._samples, start=1):
                    self._window.start(sample)
                    if number % _READ_AT_ONCE == 0:
                        await asyncio.sleep(0)
                    if self._window.room <= 0:
                        await self._room()
        finally:
            self._window.end()

    async def _room(self) -> None:
        while self._window.room <= 0:
            self._has_room.clear()
            await self._has_room.wait()


async def collect(
    window: Window, samples: Iterable[Sample], *, on_error: OnError, progress: bool
) -> list[Reward | RewardClientError]:
    """The results of all samples, in their order.

    Args:
        window: Scores them; not ordered, so that none waits for another.
        samples: The samples.
        on_error: Stop at the first failure, or put it in the sample's place.
        progress: Show a progress bar.

    Raises:
        BatchError: ``on_error`` is ``"raise"`` and a sample failed; what was scored is in it.
    """
    outcomes: dict[int, Outcome] = {}
    async with AsyncRewardStream(window, samples, progress=progress) as stream:
        while taken := await stream.outcomes():
            outcomes |= taken
            if on_error == "raise":
                _refuse_failure(taken, outcomes, window)
    return [outcomes[index] for index in range(len(outcomes))]


def _refuse_failure(
    taken: Mapping[int, Outcome], outcomes: Mapping[int, Outcome], window: Window
) -> None:
    for index, error in taken.items():
        if isinstance(error, RewardClientError):
            scored = tuple(
                ScoreResult(place, outcome, None)
                for place, outcome in sorted(
                    {**outcomes, **window.finished()}.items(), key=itemgetter(0)
                )
                if isinstance(outcome, Reward)
            )
            raise BatchError(
                f"Sample {index} failed, after {len(scored)} were scored (they are in "
                f"error.results): {error}",
                results=scored,
            ) from error


def _result(index: int, outcome: Outcome) -> ScoreResult:
    if isinstance(outcome, Reward):
        return ScoreResult(index, outcome, None)
    return ScoreResult(index, None, outcome)


def progress_bar(samples: object) -> tqdm[NoReturn]:
    """A bar that counts conversations, against their number where that is known."""
    from tqdm.auto import tqdm

    return tqdm(total=len(samples) if isinstance(samples, Sized) else None, unit="conv")
