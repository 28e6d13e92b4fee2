"""Streams of samples: order, bounds, failures, early ends. The scorer is a plain coroutine."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from reward_client import BatchError, Provenance, Reward, ServerError
from reward_client._client.streaming import AsyncRewardStream, Window, collect, samples_bar
from reward_client._client.watch import Watch
from reward_client._telemetry.observation import ObservedCall
from reward_client._telemetry.tally import Tally

PROVENANCE = Provenance(
    model="m",
    server_version=None,
    route="pooling",
    activation="none",
    activation_known_by="request",
    head="scalar",
    tokenizer="server",
    client_version="0",
)


def reward(value: float) -> Reward:
    return Reward(value=value, token_count=1, token_digest="", bos_count=0, provenance=PROVENANCE)


async def echo(sample: Any) -> Reward:
    """Later samples are done first; negative ones fail."""
    await asyncio.sleep(0.001 * (10 - sample[0] % 10))
    if sample[0] % 7 == 3:
        raise ServerError(f"no reward for {sample[0]}")
    return reward(sample[0])


def window(score: Any, size: int, *, ordered: bool, group: int = 3) -> Window:
    """Groups of at most three samples, each of which is scored by itself."""

    async def one(sample: Any) -> Any:
        try:
            return await score(sample)
        except Exception as error:
            return error

    async def score_group(group: Sequence[Any]) -> list[Any]:
        return await asyncio.gather(*map(one, group))

    async def steady() -> Any:
        return [SimpleNamespace(changes=0, unproven=0, asked_at=math.inf, prove=steady)]

    return Window(
        Watch(
            score_group,
            steady,
            ObservedCall(Tally(), "stream", None, str),
            lambda _, outcomes: outcomes,
        ),
        size,
        group,
        lambda _: True,
        ordered=ordered,
    )


def stream(
    samples: Any, *, ordered: bool = True, size: int = 8, score: Any = echo, group: int = 3
) -> AsyncRewardStream:
    scored = window(score, size, ordered=ordered, group=group)
    return AsyncRewardStream(scored, samples, None, lambda _: None)


def collected(samples: Any, on_error: Any, *, size: int = 8, score: Any = echo) -> Awaitable[Any]:
    return collect(window(score, size, ordered=False), samples, on_error=on_error)


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    async def checked() -> Any:
        result = await asyncio.wait_for(main(), 20)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, "tasks are left"
        return result

    return asyncio.run(checked())


async def from_async(count: int) -> AsyncIterator[list[int]]:
    for index in range(count):
        await asyncio.sleep(0)
        yield [index]


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 100])
@pytest.mark.parametrize("source", ["list", "iterator", "async"])
def test_every_sample_once_and_at_its_index(ordered: bool, count: int, source: str) -> None:
    samples = [[index] for index in range(count)]
    given: Any = {"list": samples, "iterator": iter(samples), "async": from_async(count)}[source]

    async def main() -> list[Any]:
        async with stream(given, ordered=ordered) as results:
            return [result async for result in results]

    results = run(main)
    indices = [result.index for result in results]
    assert sorted(indices) == list(range(count))
    if ordered:
        assert indices == sorted(indices)
    for result in results:
        if result.index % 7 == 3:
            assert result.reward is None
            assert str(result.error) == f"no reward for {result.index}"
        else:
            assert (result.reward.value, result.error) == (result.index, None)


@pytest.mark.parametrize("ordered", [True, False])
def test_an_endless_source_is_read_a_bounded_number_ahead(ordered: bool) -> None:
    read = 0
    running = 0
    most = 0

    def endless() -> Iterator[list[int]]:
        nonlocal read
        while True:
            read += 1
            yield [0]

    async def count(sample: Any) -> Reward:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return reward(0)

    async def main() -> None:
        async with stream(endless(), ordered=ordered, score=count) as results:
            taken = 0
            async for _ in results:
                taken += 1
                assert read <= taken + 8 + 1
                if taken == 100:
                    break

    run(main)
    assert most <= 8


def test_a_source_that_waits_for_results_gets_them() -> None:
    """A slow source must not hold back results that are there already."""
    got = asyncio.Queue[int]()

    async def source() -> AsyncIterator[list[int]]:
        yield [0]
        yield [await got.get() + 1]

    async def main() -> list[int]:
        indices = []
        async with stream(source()) as results:
            async for result in results:
                indices.append(result.index)
                got.put_nowait(result.index)
        return indices

    assert run(main) == [0, 1]


@pytest.mark.parametrize("ordered", [True, False])
def test_leaving_early_stops_the_work(ordered: bool) -> None:
    stopped = 0

    async def slow(sample: Any) -> Reward:
        nonlocal stopped
        try:
            await asyncio.sleep(0 if sample[0] == 0 else 60)
        except asyncio.CancelledError:
            stopped += 1
            raise
        return reward(0)

    async def main() -> None:
        async with stream(
            [[index] for index in range(100)], ordered=ordered, score=slow, group=1
        ) as results:
            async for _ in results:
                break
        assert [result async for result in results] == []

    run(main)
    assert stopped == 7


def test_a_cancelled_wait_loses_no_result() -> None:
    async def slow(sample: Any) -> Reward:
        await asyncio.sleep(0.05)
        return reward(sample[0])

    async def main() -> list[float]:
        values = []
        async with stream([[1], [2], [3]], score=slow, size=1) as results:
            while True:
                try:
                    result = await asyncio.wait_for(anext(results), 0.01)
                except TimeoutError:
                    continue
                except StopAsyncIteration:
                    return values
                values.append(result.reward.value)

    assert run(main) == [1, 2, 3]


def test_an_error_of_the_source_follows_the_earlier_results() -> None:
    def source() -> Iterator[list[int]]:
        yield [0]
        yield [1]
        raise OSError("the file ends here")

    async def main() -> None:
        results = stream(source())
        assert [(await anext(results)).index for _ in range(2)] == [0, 1]
        with pytest.raises(OSError, match="the file ends here"):
            await anext(results)

    run(main)


def test_closing_while_another_task_waits_ends_its_iteration() -> None:
    async def slow(sample: Any) -> Reward:
        await asyncio.sleep(60)
        return reward(0)

    async def main() -> list[Any]:
        results = stream([[0], [1]], score=slow)
        waiting = asyncio.create_task(anext(results, "the end"))
        await asyncio.sleep(0.01)
        await results.aclose()
        return await waiting

    for _ in (True, False):
        assert run(main) == "the end"


def test_collect_returns_errors_in_their_places() -> None:
    results = run(lambda: collected([[i] for i in range(20)], "return"))
    for index, result in enumerate(results):
        if index % 7 == 3:
            assert str(result) == f"no reward for {index}"
        else:
            assert result.value == index


def test_collect_raises_with_what_was_scored() -> None:
    cancelled = []

    async def score(sample: Any) -> Reward:
        if sample == [5]:
            await asyncio.sleep(0.05)
            raise ServerError("broken")
        try:
            await asyncio.sleep(0 if sample[0] < 5 else 60)
        except asyncio.CancelledError:
            cancelled.append(sample[0])
            raise
        return reward(sample[0])

    samples = [[index] for index in range(50)]
    with pytest.raises(BatchError) as caught:
        run(lambda: collected(samples, "raise", size=20, score=score))
    assert [(r.index, r.reward and r.reward.value) for r in caught.value.results] == [
        (index, index) for index in range(5)
    ]
    assert isinstance(caught.value.__cause__, ServerError)
    assert "Sample 5 failed" in str(caught.value)
    assert "after 5 were scored" in str(caught.value)
    assert cancelled


def test_what_was_scored_at_the_same_moment_is_not_lost() -> None:
    async def score(sample: Any) -> Reward:
        if sample == [0]:
            raise ServerError("broken")
        return reward(sample[0])

    with pytest.raises(BatchError) as caught:
        run(lambda: collected([[0], [1], [2]], "raise", score=score))
    assert [result.index for result in caught.value.results] == [1, 2]


def test_a_bug_is_not_taken_for_a_failed_sample() -> None:
    async def broken(sample: Any) -> Reward:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(lambda: collected([[1]], "return", score=broken))


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)

    async def main() -> None:
        samples = [[0], [1]]
        scored = window(echo, 8, ordered=True)
        await collect(scored, samples, on_error="return", bar=samples_bar(samples))

    run(main)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("2/2" in err, "conv" in err, bool(err)) == (terminal,) * 3
