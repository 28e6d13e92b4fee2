"""Samples that share requests: how they are gathered, and what becomes of them when one is bad."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from contextlib import closing
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client import (
    AsyncRewardClient,
    BadRequestError,
    EngineDeadError,
    Limits,
    NonFiniteRewardError,
    ResponseMismatchError,
    RetryPolicy,
    Reward,
    RewardClientError,
    ServerError,
)

from ..support.either import OPENERS, Kind
from ..support.fake_vllm import FakeVllm

ONCE = RetryPolicy(attempts=1)
REFUSED = {"error": {"message": "This one not.", "type": "BadRequestError", "code": 400}}

CONVERSATIONS = [[{"role": "assistant", "content": f"Number {number}."}] for number in range(11)]

Request = Callable[[list[list[int]]], httpx.Response | None]


def lists(number: int, *, length: int = 4) -> list[list[int]]:
    return [[place, *[7] * (length - 1)] for place in range(number)]


def first(ids: list[int]) -> list[float]:
    return [ids[0] - 3.5]


def vllm(answer: Request) -> FakeVllm:
    """It scores token lists by their first token, once it was found out; `answer` may refuse."""

    def before(request: httpx.Request) -> httpx.Response | None:
        if request.url.path != "/pooling":
            return None
        lists = json.loads(request.content)["input"]
        # The probes are looked at by their own tokens, which begin at 20.
        return None if lists[0][0] >= 20 else answer(lists)

    return FakeVllm(pool=first, before=before, probe=list(range(20, 70)))


def scored(
    kind: Kind, fake: FakeVllm, samples: list[Any], **limits: int
) -> tuple[list[Any], list[list[list[int]]]]:
    """The outcomes, and what was asked for them."""
    options = {"retry": ONCE, "limits": Limits(**limits)}
    with closing(OPENERS[kind]("http://vllm", transport=fake.transport(), **options)) as client:
        client.servers()
        fake.requests.clear()
        outcomes = client.score_many(samples, on_error="return")
    return outcomes, [body["input"] for body in fake.asked("/pooling")]


@pytest.mark.parametrize("kind", OPENERS)
def test_samples_share_requests_in_their_order(kind: Kind) -> None:
    samples = [[place % 20, place, 7] for place in range(100)]
    outcomes, asked = scored(kind, vllm(lambda _: None), samples)
    assert [outcome.value for outcome in outcomes] == [place % 20 - 3.5 for place in range(100)]
    assert [ids for batch in asked for ids in batch] == samples
    assert list(map(len, asked)) == [32, 32, 32, 4]


@pytest.mark.parametrize("kind", OPENERS)
def test_a_request_has_no_more_than_its_limits(kind: Kind) -> None:
    samples = [[place % 20, *range(place % 17)] for place in range(60)]
    outcomes, asked = scored(
        kind, vllm(lambda _: None), samples, max_batch_items=5, max_batch_tokens=20
    )
    assert all(isinstance(outcome, Reward) for outcome in outcomes)
    assert max(map(len, asked)) == 5
    assert all(sum(map(len, batch)) <= 20 for batch in asked)


@pytest.mark.parametrize("kind", OPENERS)
def test_a_sample_over_the_token_budget_goes_alone(kind: Kind) -> None:
    samples = [[1, 2], [3] * 30, [4, 5]]
    _, asked = scored(kind, vllm(lambda _: None), samples, max_batch_tokens=10)
    assert asked == [[[1, 2]], [[3] * 30], [[4, 5]]]


@pytest.mark.parametrize("kind", OPENERS)
def test_equal_samples_are_scored_once(kind: Kind) -> None:
    outcomes, asked = scored(kind, vllm(lambda _: None), [[1, 2], [3, 4], [1, 2]] * 20)
    assert [outcome.value for outcome in outcomes] == [-2.5, -0.5, -2.5] * 20
    assert asked == [[[1, 2], [3, 4]]]


def refusing(culprits: set[int]) -> Request:
    def answer(asked: list[list[int]]) -> httpx.Response | None:
        bad = culprits & {ids[1] for ids in asked}
        return httpx.Response(400, json=REFUSED) if bad else None

    return answer


@given(
    size=st.integers(1, 32),
    culprits=st.sets(st.integers(0, 31), max_size=6),
    kind=st.sampled_from(tuple(OPENERS)),
)
def test_culprits_among_others(size: int, culprits: set[int], kind: Kind) -> None:
    """Neighbours keep their rewards, within a bound of requests."""
    culprits = {place for place in culprits if place < size}
    samples = [[place % 20, place, 7] for place in range(size)]
    outcomes, asked = scored(kind, vllm(refusing(culprits)), samples)
    for place, outcome in enumerate(outcomes):
        if place in culprits:
            assert isinstance(outcome, BadRequestError)
            assert "This one not" in str(outcome)
        else:
            assert outcome.value == place % 20 - 3.5
    probes = [lists for lists in asked if lists[0][0] >= 20]
    assert len(probes) == (1 if culprits and size > 1 else 0)
    halvings = math.ceil(math.log2(size)) if size > 1 else 0
    assert len(asked) - len(probes) <= 2 * len(culprits) * halvings + 1


@pytest.mark.parametrize("kind", OPENERS)
def test_what_no_sample_causes_is_not_taken_apart(kind: Kind) -> None:
    fake = vllm(lambda _: None)
    options = {"retry": ONCE, "transport": fake.transport()}
    with closing(OPENERS[kind]("http://vllm", **options)) as client:
        client.servers()
        fake.requests.clear()
        fake.before = lambda request: httpx.Response(400, json=REFUSED)
        outcomes = client.score_many(lists(20), on_error="return")
    assert {type(outcome) for outcome in outcomes} == {BadRequestError}
    assert len(fake.asked("/pooling")) == 2


@pytest.mark.parametrize("kind", OPENERS)
def test_a_server_that_truncates_one_sample_spoils_no_other(kind: Kind) -> None:
    def answer(asked: list[list[int]]) -> httpx.Response | None:
        count = sum(min(len(ids), 10) for ids in asked)
        data = [{"index": index, "data": first(ids)} for index, ids in enumerate(asked)]
        usage = {"prompt_tokens": count}
        return httpx.Response(200, json={"model": "judge", "data": data, "usage": usage})

    samples = [*lists(9), [5] * 11]
    outcomes, _ = scored(kind, vllm(answer), samples)
    assert [outcome.value for outcome in outcomes[:-1]] == [place - 3.5 for place in range(9)]
    assert isinstance(outcomes[-1], ResponseMismatchError)


@pytest.mark.parametrize("kind", OPENERS)
def test_a_value_that_is_no_number_is_that_samples_alone(kind: Kind) -> None:
    fake = vllm(lambda _: None)
    fake.pool = lambda ids: [None] if ids[0] == 4 else first(ids)
    outcomes, asked = scored(kind, fake, lists(8))
    assert [type(outcome) for outcome in outcomes] == [
        NonFiniteRewardError if place == 4 else Reward for place in range(8)
    ]
    assert len(asked) == 1


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("status", "message", "error"),
    [(500, "EngineCore encountered an issue", EngineDeadError), (502, "bad gateway", ServerError)],
)
def test_what_is_no_refusal_is_not_taken_apart(
    kind: Kind, status: int, message: str, error: type[Exception]
) -> None:
    body = {"error": {"message": message, "type": "InternalServerError", "code": status}}
    outcomes, asked = scored(kind, vllm(lambda _: httpx.Response(status, json=body)), lists(10))
    assert {type(outcome) for outcome in outcomes} == {error}
    assert len({id(outcome) for outcome in outcomes}) == 10
    assert len(asked) == 1


def test_whoever_stops_waiting_stops_no_other() -> None:
    """Equal samples share a request; the one that is cancelled leaves the other its reward."""

    async def main() -> tuple[float, int]:
        fake = vllm(lambda _: None)
        gate = asyncio.Event()
        arrived = asyncio.Event()

        async def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/pooling" and json.loads(request.content)["input"][0][0] < 20:
                arrived.set()
                await gate.wait()
            return fake.answer(request)

        async with AsyncRewardClient(
            "http://vllm", transport=httpx.MockTransport(answer)
        ) as client:
            await client.servers()
            discovered = len(fake.asked("/pooling"))
            one = asyncio.create_task(client.score([1, 2]))
            two = asyncio.create_task(client.score([1, 2]))
            await arrived.wait()
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
            gate.set()
            return (await two).value, len(fake.asked("/pooling")) - discovered

    assert asyncio.run(main()) == (-2.5, 1)


def test_a_request_that_nobody_waits_for_is_given_up() -> None:
    async def main() -> bool:
        fake = vllm(lambda _: None)
        stopped = asyncio.Event()
        arrived = asyncio.Event()

        async def answer(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/pooling" and json.loads(request.content)["input"][0][0] < 20:
                arrived.set()
                try:
                    await asyncio.sleep(60)
                finally:
                    stopped.set()
            return fake.answer(request)

        async with AsyncRewardClient(
            "http://vllm", transport=httpx.MockTransport(answer)
        ) as client:
            await client.servers()
            tasks = [asyncio.create_task(client.score([1, place])) for place in range(5)]
            await arrived.wait()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            return stopped.is_set()

    assert asyncio.run(asyncio.wait_for(main(), 10))


@pytest.mark.parametrize("samples", [lists(11), CONVERSATIONS], ids=["token IDs", "conversations"])
def test_a_call_can_be_cancelled_at_any_moment(samples: list[Any]) -> None:
    """A request that was stopped before it began once counted as under way for ever."""

    async def is_scored_after(turns: int) -> bool:
        async with AsyncRewardClient(
            "http://vllm",
            transport=FakeVllm(pool=first).transport(),
            limits=Limits(max_batch_items=4),
        ) as client:
            await client.servers()
            for _ in range(4):
                call = asyncio.create_task(client.score_many(samples))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait((call,))
            try:
                return len(await asyncio.wait_for(client.score_many(samples[:2]), 5)) == 2
            except TimeoutError:
                return False

    assert [turns for turns in range(60) if not asyncio.run(is_scored_after(turns))] == []


def test_an_equal_sample_can_come_at_any_moment() -> None:
    """It shares the request of the one before it only as long as that has no outcome."""

    async def main() -> set[float]:
        async with AsyncRewardClient(
            "http://vllm", transport=vllm(lambda _: None).transport()
        ) as client:
            await client.servers()
            calls: list[asyncio.Task[Reward]] = []
            for _ in range(300):
                calls.append(asyncio.create_task(client.score([1, 2])))
                await asyncio.sleep(0)
            return {reward.value for reward in await asyncio.gather(*calls)}

    assert asyncio.run(asyncio.wait_for(main(), 20)) == {-2.5}


@pytest.mark.parametrize("samples", [lists(40), CONVERSATIONS], ids=["token IDs", "conversations"])
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 12, 20, 40])
def test_closing_leaves_no_sample_without_an_outcome(samples: list[Any], turns: int) -> None:
    """Each is scored, or failed with an error that says what happened."""

    async def main() -> None:
        fake = FakeVllm(pool=first)

        async def answer(request: httpx.Request) -> httpx.Response:
            if fake.asked("/pooling") and request.url.path == "/pooling":
                await asyncio.sleep(0.2)
            return fake.answer(request)

        transport = httpx.MockTransport(answer)
        limits = Limits(max_batch_items=4, max_concurrency=4)
        client = AsyncRewardClient("http://vllm", transport=transport, limits=limits)
        await client.servers()
        call = asyncio.create_task(client.score_many(samples, on_error="return"))
        one = asyncio.create_task(client.score(samples[0]))
        for _ in range(turns):
            await asyncio.sleep(0)
        await client.aclose()
        outcomes = await call
        assert len(outcomes) == len(samples)
        outcomes += await asyncio.gather(one, return_exceptions=True)
        for outcome in outcomes:
            assert isinstance(outcome, Reward | RewardClientError)
            assert isinstance(outcome, Reward) or "closed" in str(outcome)

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize("kind", OPENERS)
def test_ready_samples_are_scored_while_others_are_tokenized(kind: Kind) -> None:
    """In the order in which they ask, the server would tokenize first and score afterwards."""

    def before(request: httpx.Request) -> httpx.Response | None:
        body = json.loads(request.content) if request.content else {}
        if "messages" not in body:
            return None
        ids = [int(body["messages"][0]["content"]), 7]
        return httpx.Response(200, json={"count": 2, "max_model_len": 1024, "tokens": ids})

    fake = FakeVllm(pool=first, before=before)
    samples = [[{"role": "assistant", "content": str(number)}] for number in range(32)]
    options = {
        "transport": fake.transport(),
        "limits": Limits(max_concurrency=4, max_batch_items=8),
    }
    with closing(OPENERS[kind]("http://vllm", **options)) as client:
        client.servers()
        fake.requests.clear()
        rewards = client.score_many(samples)
    assert [reward.value for reward in rewards] == [number - 3.5 for number in range(32)]
    paths = [path for path, _ in fake.requests]
    assert paths.count("/tokenize") == len(samples)
    assert paths.index("/pooling") < len(samples) / 2
