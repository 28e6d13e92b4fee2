"""Rewards in AReaL, by import path: ``reward_client.integrations.areal.reward_fn``.

The options come from the environment. The messages come from the row's ``messages``; for rows
without them ``REWARD_CLIENT_POLICY_TOKENIZER`` names the tokenizer that reads AReaL's text.

AReaL rejects an episode whose reward function raises an error, four times in a row. So is left out
whatever fails: a sample by its own fault, or by a fault of the server after all patience. Its
wrapper for functions gives 0 for a reward that takes longer than 15 seconds four times, which
trains. So `reward_fn` has an error after 10 seconds by default, before that happens. Only
`RewardWorkflow`, which needs no wrapper, waits for a server that restarts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from reward_client._integrations.clients import policy_text_of, score, score_async
from reward_client._integrations.environment import Options, from_environment, options_of
from reward_client._integrations.outcomes import refuse_failures
from reward_client._integrations.policy_text import Rollout
from reward_client.errors import InputError, RewardTimeoutError, ServerUnreachableError

_LONGEST = 5.0
"""Seconds until the server is ready, and then for the sample: 10 of the 15 that AReaL allows."""
_REWARD_FN = f"{__name__}.reward_fn"


def reward_fn(
    prompt: str,
    completions: str,
    prompt_ids: Sequence[int],
    completion_ids: Sequence[int],
    **row: object,
) -> float:
    """Return the reward of a completion.

    Args:
        prompt: The prompt in the policy's chat template.
        completions: The answer.
        prompt_ids: Not read.
        completion_ids: Not read.
        **row: The row of the data set, whose ``messages`` are the prompt.

    Raises:
        InputError: If the sample fails by its own fault, and ``REWARD_CLIENT_FAILED`` is not set;
            or if an option is invalid.
        RewardClientError: If the reward is missing by a fault of the server, or if another model
            answers than at the first call.
    """
    options = _short_options()
    rollouts = _rollouts(options, prompt, completions, row)
    try:
        (value,) = refuse_failures(score(options, rollouts))
    except RewardTimeoutError as error:
        # AReaL takes each TimeoutError for its own, and gives 0.
        raise ServerUnreachableError(str(error)) from error
    return value


def _rollouts(
    options: Options, prompt: str, answer: str, row: Mapping[str, object]
) -> list[Rollout]:
    messages = row.get("messages")
    if options.policy_tokenizer is None and messages is None:
        raise InputError(
            "Cannot read AReaL's prompt: the row has no messages. Set "
            "REWARD_CLIENT_POLICY_TOKENIZER to the tokenizer of the policy."
        )
    given = prompt if options.policy_tokenizer is not None else messages
    return policy_text_of(options).answered([given], [answer])


@cache
def _short_options() -> Options:
    given = {"patience": _LONGEST, "timeout": _LONGEST, **from_environment()}
    for name in ("patience", "timeout"):
        seconds = given[name]
        if isinstance(seconds, float) and seconds > _LONGEST:
            raise InputError(
                f"REWARD_CLIENT_{name.upper()}={seconds:g} is too long for reward_fn: AReaL gives "
                f"0 after 15 s. Give at most {_LONGEST:g}, or take RewardWorkflow."
            )
    return options_of("reward_fn", given)


@cache
def _options() -> Options:
    return options_of("RewardWorkflow", {})


def __getattr__(name: str) -> Any:
    """Make `RewardWorkflow` when it is imported: AReaL is loaded then."""
    if name == "RewardWorkflow":
        return _workflow()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _workflow() -> type:
    base = import_module("areal.workflow.rlvr").RLVRWorkflow

    class RewardWorkflow(base):  # type: ignore[misc, valid-type]  # AReaL may be missing
        """AReaL's ``RLVRWorkflow`` with the rewards of a server, for which it waits.

        Its ``reward_fn`` is not called.
        """

        def __init__(self, reward_fn: Any = _REWARD_FN, *args: Any, **options: Any) -> None:
            super().__init__(reward_fn, *args, **options)  # pyright: ignore[reportUnknownMemberType]

        async def _compute_rewards(
            self, resp: Any, prompt_str: str, task_data: Mapping[str, object]
        ) -> float:
            options = _options()
            answer = self.tokenizer.decode(resp.output_tokens)
            rollouts = _rollouts(options, prompt_str, answer, task_data)
            (value,) = refuse_failures(await score_async(options, rollouts))
            return value

    RewardWorkflow.__module__ = __name__
    RewardWorkflow.__qualname__ = "RewardWorkflow"
    return RewardWorkflow
