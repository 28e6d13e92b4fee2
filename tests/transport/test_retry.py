"""The retry loop: what it waits, when it stops, and what it lets pass."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client import (
    BadRequestError,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    ServerUnreachableError,
)
from reward_client._protocols.http import Response
from reward_client._transport.retry import Failure, retrying

REPLY = Response({}, "GET http://far", "rc-1")
PASSING = Failure(ServerError("later"), "HTTP 503", retried=True)
PERMANENT = Failure(BadRequestError("no"), "HTTP 400", retried=False)


def rate_limited(seconds: float) -> Failure:
    error = RateLimitedError("later", status=429, retry_after=seconds)
    return Failure(error, "HTTP 429", retried=True)


def run(
    policy: RetryPolicy, outcomes: Sequence[Response | Failure | BaseException]
) -> tuple[Response | Failure, list[float], int]:
    """How it ends with these outcomes, what it waited, and how many it took."""
    waited: list[float] = []
    left = list(outcomes)

    async def attempt() -> Response | Failure:
        outcome = left.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    loop = retrying(policy, spent=0)
    loop.sleep = sleep
    ending = asyncio.run(loop(attempt))
    return ending, waited, len(outcomes) - len(left)


def test_a_reply_ends_it():
    assert run(RetryPolicy(), [REPLY, PASSING]) == (REPLY, [], 1)


def test_a_permanent_failure_ends_it():
    assert run(RetryPolicy(), [PERMANENT, REPLY]) == (PERMANENT, [], 1)


def test_a_permanent_failure_after_a_passing_one():
    ending, waited, taken = run(RetryPolicy(), [PASSING, PERMANENT, REPLY])

    assert (ending, len(waited), taken) == (PERMANENT, 1, 2)


@given(st.integers(1, 12), st.floats(0.01, 100))
def test_full_jitter_within_its_bounds(attempts, max_wait):
    policy = RetryPolicy(attempts=attempts, max_wait=max_wait, budget=1e9)

    ending, waited, taken = run(policy, [PASSING] * 20)

    assert ending is PASSING
    assert taken == attempts
    assert len(waited) == attempts - 1
    for number, seconds in enumerate(waited):
        assert 0 <= seconds <= min(max_wait, 0.5 * 2**number)


def test_the_jitter_is_full():
    policy = RetryPolicy(attempts=2, max_wait=60)
    firsts = [run(policy, [PASSING] * 2)[1][0] for _ in range(200)]

    assert min(firsts) < 0.1  # each with a probability of 1 - 0.8 ** 200
    assert max(firsts) > 0.4


@given(st.floats(0, 299))
def test_the_servers_wish_is_followed_exactly(seconds):
    policy = RetryPolicy(max_wait=0.01)

    assert run(policy, [rate_limited(seconds), REPLY]) == (REPLY, [seconds], 2)


@given(st.floats(301, allow_infinity=False))
def test_a_wish_beyond_the_budget_ends_it(seconds):
    failure = rate_limited(seconds)

    assert run(RetryPolicy(budget=300), [failure, REPLY]) == (failure, [], 1)


def test_no_budget_is_no_retry():
    assert run(RetryPolicy(budget=0), [PASSING, REPLY]) == (PASSING, [], 1)


def test_one_attempt_is_no_retry():
    for failure in (PASSING, rate_limited(0)):
        assert run(RetryPolicy(attempts=1), [failure, REPLY]) == (failure, [], 1)


@pytest.mark.parametrize("passed", [asyncio.CancelledError(), ValueError("a mistake")])
def test_exceptions_pass(passed):
    with pytest.raises(type(passed)):
        run(RetryPolicy(), [PASSING, passed, REPLY])


def test_many_at_once_do_not_mix():
    """One object serves all calls of a client."""
    loop = retrying(RetryPolicy(attempts=4), spent=0)

    async def sleep(_: float) -> None:
        await asyncio.sleep(0)

    loop.sleep = sleep

    async def call(number: int) -> bool:
        taken = 0
        error = ServerUnreachableError(str(number))

        async def attempt() -> Response | Failure:
            nonlocal taken
            taken += 1
            for _ in range(number % 3):
                await asyncio.sleep(0)
            if taken > number % 6:
                return Response(number, "", "")
            return Failure(error, str(number), retried=True)

        ending = await loop(attempt)
        if isinstance(ending, Response):
            return ending.payload == number and taken == number % 6 + 1
        return ending.error is error and taken == 4 <= number % 6

    async def main() -> list[bool]:
        return await asyncio.gather(*map(call, range(100)))

    assert all(asyncio.run(main()))
