"""Iterators that yield one object again and again, with other contents each time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest

from reward_client import AsyncRewardClient, RewardClient
from reward_client.testing import RewardServer
from tests.support.either import OPENERS, EitherClient, Kind

COUNT = 100  # more than one reading, and than one batch


@pytest.fixture(scope="module")
def server() -> Iterator[RewardServer]:
    with RewardServer() as server:
        yield server


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, server: RewardServer) -> Iterator[EitherClient]:
    kind: Kind = request.param
    client = OPENERS[kind](server.url)
    yield client
    client.close()


def ids_of(index: int) -> list[int]:
    return [60 + index % 7, 70 + index // 7, 80]


def turns_of(index: int) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": f"What is {index} + 1?"},
        {"role": "assistant", "content": [{"type": "text", "text": str(index + 1)}]},
    ]


def one_list() -> Iterator[list[int]]:
    ids: list[int] = []
    for index in range(COUNT):
        ids[:] = ids_of(index)
        yield ids


def one_array() -> Iterator[Any]:
    ids = np.zeros(3, dtype="int64")
    for index in range(COUNT):
        ids[:] = ids_of(index)
        yield ids


def one_list_of_messages() -> Iterator[list[dict[str, Any]]]:
    turns: list[dict[str, Any]] = []
    for index in range(COUNT):
        turns[:] = turns_of(index)
        yield turns


def two_dicts() -> Iterator[list[dict[str, Any]]]:
    turns = turns_of(0)
    for index in range(COUNT):
        turns[0]["content"] = turns_of(index)[0]["content"]
        turns[1]["content"][0]["text"] = str(index + 1)
        yield turns


def invalid_at_first() -> Iterator[list[Any]]:
    ids: list[Any] = [-1]
    yield ids
    for index in range(1, COUNT):
        ids[:] = ids_of(index)
        yield ids


MADE: dict[Callable[[], Iterator[Any]], Callable[[int], Any]] = {
    one_list: ids_of,
    one_array: ids_of,
    one_list_of_messages: turns_of,
    two_dicts: turns_of,
    invalid_at_first: lambda index: ids_of(index) if index else [-1],
}


def shown(outcomes: list[Any]) -> list[Any]:
    return [str(each) if isinstance(each, Exception) else float(each) for each in outcomes]


@pytest.mark.parametrize("make", MADE)
def test_each_reward_is_that_of_the_sample_as_it_was_read(client: EitherClient, make: Any) -> None:
    separate = [MADE[make](index) for index in range(COUNT)]
    expected = shown(client.score_many(separate, on_error="return"))
    assert len(set(expected)) > COUNT / 2  # so that a mix-up shows
    assert shown(client.score_many(make(), on_error="return")) == expected
    for ordered in (True, False):
        results = sorted(client.stream(make(), ordered=ordered), key=lambda each: each.index)
        assert shown([each.error or each.reward for each in results]) == expected


@pytest.mark.parametrize("make", MADE)
def test_also_of_rows_which_come_back_as_they_were_read(client: EitherClient, make: Any) -> None:
    separate = [MADE[make](index) for index in range(1, COUNT)]
    expected = [float(each) for each in client.score_many(separate)]

    def rows() -> Iterator[dict[str, Any]]:
        row: dict[str, Any] = {"origin": {"indices": []}}
        for index, sample in enumerate(make()):
            row["origin"]["indices"][:] = [(index,), {"twice": sample}]
            row["messages" if isinstance(sample[0], dict) else "token_ids"] = sample
            if index:  # the first one may be invalid
                yield row

    for score in (client.score_rows, client.stream_rows):
        scored = [*score(rows())]
        assert [row["reward"] for row in scored] == expected
        for index, (row, sample) in enumerate(zip(scored, separate, strict=True), 1):
            returned = row["messages" if "messages" in row else "token_ids"]
            assert [*returned] == sample
            place, again = row["origin"]["indices"]
            assert place == (index,)
            assert again["twice"] is returned


def test_nested_content_of_rows_in_a_list_is_not_copied(client: EitherClient) -> None:
    rows = [{"token_ids": ids_of(index)} for index in range(2)]
    for score in (client.score_rows, client.stream_rows):
        assert all(a["token_ids"] is b["token_ids"] for a, b in zip(rows, score(rows), strict=True))


def test_a_row_of_an_iterator_may_hold_itself(client: EitherClient) -> None:
    row: dict[str, Any] = {"token_ids": ids_of(0), "parents": []}
    row["parents"].append(row)
    (scored,) = client.score_rows(iter([row]), columns=["token_ids"])
    assert scored["reward"] == float(client.score(ids_of(0)))
    copy = scored["parents"][0]
    assert copy is not row
    assert copy["parents"][0] is copy


@pytest.mark.parametrize("make", MADE)
def test_also_of_an_asynchronous_iterator(server: RewardServer, make: Any) -> None:
    async def samples() -> AsyncIterator[Any]:
        for sample in make():
            yield sample

    async def streamed() -> list[Any]:
        async with AsyncRewardClient(server.url) as client, client.stream(samples()) as results:
            return [each.error or each.reward async for each in results]

    with RewardClient(server.url) as client:
        separate = [MADE[make](index) for index in range(COUNT)]
        expected = shown(client.score_many(separate, on_error="return"))
    assert shown(asyncio.run(streamed())) == expected
