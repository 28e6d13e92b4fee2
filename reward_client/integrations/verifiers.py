"""Rewards in verifiers and prime-rl, for any task by an import path, or in a task of one's own.

By the import path, with the options of the environment::

    --env.taskset.task.rewards.reward_model.fn reward_client.integrations.verifiers:reward

In a task of one's own::

    score = reward_model("http://localhost:8000")

    class MyTask(vf.Task[MyData]):
        @vf.reward
        async def helpful(self, trace) -> float:
            return await score(trace)

A sample that fails by its own fault raises its error, and verifiers leaves the rollout out. A fault
of the server is waited for, and then raised.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from importlib import import_module
from typing import Any, Unpack, cast

from reward_client._client.base_url import BaseUrl
from reward_client._integrations.clients import policy_text_of, score_async
from reward_client._integrations.environment import IntegrationOptions, options_of
from reward_client._integrations.outcomes import Transform
from reward_client.errors import RewardTimeoutError


def reward_model(
    base_url: BaseUrl | None = None,
    *,
    transform: Transform | None = None,
    **options: Unpack[IntegrationOptions],
) -> Callable[[Any], Awaitable[float]]:
    """Return a function that scores the messages of a trace, those of its last branch.

    The function raises an error if the sample fails by its own fault and ``failed`` is not given,
    if the reward is missing by a fault of the server, or if another model answers than at the first
    call.

    Args:
        base_url: The server's URL, or those of replicas; by default the environment variable
            ``REWARD_CLIENT_BASE_URL``.
        transform: Makes a number of a `reward_client.Reward`; by default its value.
        **options: The options of `reward_client.RewardClient`, except ``transport``; ``patience``,
            ``policy_tokenizer``, ``strip_reasoning`` and ``failed``. Those that are not given come
            from the environment.

    Raises:
        InputError: If an option or a variable of the environment is invalid.
        TypeError: If an option is unknown. The message names the right one.
    """
    read = options_of("reward_model", options, base_url)

    async def score(trace: Any) -> float:
        to_wire = import_module("verifiers.v1.dialects.chat").message_to_wire
        messages = [to_wire(message) for message in trace.messages]
        rollouts = policy_text_of(read).conversations([messages])
        try:
            batch = await score_async(read, rollouts, transform)
        except RewardTimeoutError as late:  # of which verifiers keeps no reason
            raise import_module("verifiers.v1.errors").TaskError(str(late)) from late
        (value,), (error,) = batch.values, batch.errors
        if error is not None and value is None:
            raise error
        return cast("float", value)

    return score


async def reward(trace: Any) -> float:
    """Return the reward of a trace by `reward_model` with the options of the environment."""
    return await _of_environment()(trace)


@cache
def _of_environment() -> Callable[[Any], Awaitable[float]]:
    return reward_model()
