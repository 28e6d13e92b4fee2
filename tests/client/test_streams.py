"""Streams of the synchronous client, whose samples are read in the calling thread."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from reward_client import Limits, RewardClient, RewardClientError
from reward_client.testing import RewardServer

CHAT = [{"role": "user", "content": "What is 12 + 30?"}, {"role": "assistant", "content": "42"}]


@pytest.fixture(scope="module")
def client() -> Iterator[RewardClient]:
    with (
        RewardServer() as server,
        RewardClient(server.url, limits=Limits(max_concurrency=4, max_batch_items=2)) as client,
    ):
        yield client


@pytest.mark.parametrize("ordered", [True, False])
def test_samples_are_read_in_the_calling_thread_just_in_time(
    client: RewardClient, *, ordered: bool
) -> None:
    read = 0

    def endless() -> Iterator[list[dict[str, str]]]:
        nonlocal read
        while True:
            assert threading.current_thread() is threading.main_thread()
            read += 1
            yield CHAT

    with client.stream(endless(), ordered=ordered) as results:
        for taken, result in enumerate(results, start=1):
            assert result.reward is not None
            assert read <= taken + 2 * 4
            if taken == 30:
                break
    assert list(results) == []


def test_slow_input_does_not_hold_back_results(client: RewardClient) -> None:
    def slow() -> Iterator[list[dict[str, str]]]:
        for position in range(6):
            # By the third, the first has been scored long ago; nothing later may be waited for.
            if position > 3:
                raise AssertionError("read too far ahead of a result that was there")
            yield CHAT
            time.sleep(0.5)

    with client.stream(slow()) as results:
        assert next(results).index == 0


def test_what_the_input_raises_comes_after_the_results_before_it(client: RewardClient) -> None:
    def broken() -> Iterator[list[dict[str, str]]]:
        yield CHAT
        yield CHAT
        raise OSError("the file ends here")

    results = client.stream(broken())
    assert [next(results).index for _ in range(2)] == [0, 1]
    with pytest.raises(OSError, match="the file ends here"):
        next(results)
    assert list(results) == []


def test_an_interrupt_in_the_input_is_raised_at_once(client: RewardClient) -> None:
    def interrupted() -> Iterator[list[dict[str, str]]]:
        yield CHAT
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), client.stream(interrupted()) as results:
        list(results)
    assert client.score(CHAT).value > 0


def test_an_input_may_use_the_client_itself(client: RewardClient) -> None:
    def dependent() -> Iterator[tuple[int, ...]]:
        for _ in range(3):
            yield client.tokenize(CHAT).token_ids

    with client.stream(dependent()) as results:
        assert [result.index for result in results] == [0, 1, 2]


def test_errors_are_results(client: RewardClient) -> None:
    with client.stream([CHAT, [5, -1], CHAT], progress=True) as results:
        outcomes = list(results)
    assert [type(outcome.error) for outcome in outcomes][::2] == [type(None)] * 2
    assert isinstance(outcomes[1].error, RewardClientError)


def test_a_stream_of_a_closed_client_ends() -> None:
    with RewardServer() as server:
        client = RewardClient(server.url)
        results = client.stream(itertools.repeat(CHAT))
        next(results)
        client.close()
        with pytest.raises(RewardClientError, match="closed"):
            list(results)  # after those that were there already
        results.close()
