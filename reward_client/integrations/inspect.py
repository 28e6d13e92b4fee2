"""Rewards as scores of inspect-ai: ``scorer=reward_model("http://localhost:8000")``.

On a command line, for logs of earlier evaluations:
``inspect score LOG --scorer reward_client/reward_model -S base_url=http://localhost:8000``.

A sample that fails by its own fault is unscored: metrics leave it out, and the log has the reason.
A fault of the server is waited for, and then raised: inspect-ai counts an error of the sample.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, Unpack, cast

import orjson

from reward_client._client.base_url import BaseUrl
from reward_client._integrations.clients import policy_text_of, score_async
from reward_client._integrations.environment import IntegrationOptions, Options, options_of
from reward_client._integrations.outcomes import Transform
from reward_client._integrations.policy_text import Rollout
from reward_client.errors import InputError

_SECRETS = ("api_key", "headers")


def reward_model(
    base_url: BaseUrl | None = None,
    *,
    transform: Transform | None = None,
    **options: Unpack[IntegrationOptions],
) -> Callable[..., Awaitable[Any]]:
    """Return a scorer of inspect-ai with the metrics mean and standard error.

    It scores the messages of a sample, which end with the answer of the model. inspect-ai has taken
    reasoning out of an answer already: ``strip_reasoning`` leaves it out, and otherwise the reward
    model gets it as ``reasoning_content``.

    Args:
        base_url: The server's URL, or those of replicas; by default the environment variable
            ``REWARD_CLIENT_BASE_URL``.
        transform: Makes a number of a `reward_client.Reward`; by default its value.
        **options: The options of `reward_client.RewardClient`, except ``transport``, ``api_key``
            and ``headers``; ``patience``, ``strip_reasoning`` and ``failed``. Those that are not
            given come from the environment.

    Raises:
        InputError: If an option or a variable of the environment is invalid, or is a secret, which
            inspect-ai would write into its log.
        TypeError: If an option is unknown. The message names the right one.
    """
    return _registered()(base_url, transform=transform, **options)


def __getattr__(name: str) -> Any:
    """Register the scorer when inspect-ai loads it by its entry point, ``registered``."""
    if name == "registered":
        return _registered()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _registered() -> Callable[..., Callable[..., Awaitable[Any]]]:
    """Return the factory, registered as ``reward_client/reward_model``."""
    scorers = import_module("inspect_ai.scorer")

    def factory(
        base_url: BaseUrl | None = None,
        *,
        transform: Transform | None = None,
        **given: Unpack[IntegrationOptions],
    ) -> Callable[..., Awaitable[Any]]:
        _refuse_secrets(given)
        options = options_of("reward_model", given, base_url)

        async def score(state: Any, target: object) -> Any:
            return await _score(scorers.Score, options, transform, state)

        return score

    register = scorers.scorer(metrics=[scorers.mean(), scorers.stderr()], name="reward_model")
    return cast("Callable[..., Callable[..., Awaitable[Any]]]", register(factory))


def _refuse_secrets(given: Mapping[str, object]) -> None:
    for name in _SECRETS:
        if name in given:
            raise InputError(
                f"Cannot take {name}=: inspect-ai writes the arguments of scorers into its logs. "
                f"Set the environment variable REWARD_CLIENT_{name.upper()}."
            )


async def _score(score: Any, options: Options, transform: Transform | None, state: Any) -> Any:
    try:
        given: Sequence[Rollout] = policy_text_of(options).conversations(
            [[_turn(message) for message in state.messages]]
        )
    except InputError as error:
        given = [Rollout(error)]
    batch = await score_async(options, given, transform)
    (value,), (error_,), (stripped,) = batch.values, batch.errors, batch.stripped
    answer = state.output.completion
    if error_ is None:
        metadata = {"reasoning_stripped": stripped} if stripped else None
        return score(value=value, answer=answer, metadata=metadata)
    return score(
        value=float("nan") if value is None else value,
        answer=answer,
        explanation=f"{type(error_).__name__}: {error_}",
        reason="scoring_failed",
    )


def _turn(message: Any) -> dict[str, object]:
    """Return a message of inspect-ai in the form of chat completions."""
    turn: dict[str, object] = {"role": message.role, "content": message.text}
    if not isinstance(message.content, str):
        kinds = [part.type for part in message.content]
        other = next((kind for kind in kinds if kind not in ("text", "reasoning")), None)
        if other is not None:
            raise InputError(
                f"Cannot score a message with a part of the type {other}: reward models read text."
            )
        reasoning = [part.reasoning for part in message.content if part.type == "reasoning"]
        if reasoning:
            turn["reasoning_content"] = "\n".join(reasoning)
    if message.role == "assistant" and message.tool_calls:
        turn["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    if message.role == "tool":
        turn["tool_call_id"] = message.tool_call_id
        if message.error is not None:
            turn["content"] = f"Error: {message.error.message}"
    return turn


def _tool_call(call: Any) -> dict[str, object]:
    arguments = orjson.dumps(call.arguments).decode()
    function = {"name": call.function, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}
