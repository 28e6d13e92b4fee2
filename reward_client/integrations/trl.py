"""Rewards in TRL's GRPO and RLOO: ``reward_funcs=RewardFunction("http://localhost:8000")``.

On a command line: ``trl grpo --reward_funcs reward_client.integrations.trl.reward``.

A sample that fails by its own fault gets None, which TRL leaves out of its group. With several
reward functions, and before version 1.6, TRL counts None as 0. There such a sample raises its
error, unless ``failed`` gives its number. A fault of the server is waited for, and then raised: the
step stops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Unpack, cast

from reward_client._base.json_values import listed
from reward_client._client.base_url import BaseUrl
from reward_client._integrations.clients import policy_text_of, score, score_async
from reward_client._integrations.environment import IntegrationOptions, options_of
from reward_client._integrations.outcomes import BatchRewards, Transform, refuse_failures
from reward_client._integrations.policy_text import Rollout

_LEAVES_OUT = "1.6.0"
"""The first version of TRL that leaves out a completion for which all functions return None."""


class RewardFunction:
    """A reward function of TRL's trainers. It pickles.

    It takes prompts and completions in the conversational and in the standard format. A prompt that
    is a text is the user's turn, or with ``policy_tokenizer`` a text in the policy's chat template.
    With ``log_metric``, it logs mean, share of failures and seconds under its name.

    Args:
        base_url: The server's URL, or those of replicas; by default the environment variable
            ``REWARD_CLIENT_BASE_URL``.
        name: The name in TRL's metrics.
        transform: Makes a number of a `reward_client.Reward`; by default its value.
        **options: The options of `reward_client.RewardClient`, except ``transport``; ``patience``,
            ``policy_tokenizer``, ``strip_reasoning`` and ``failed``. Those that are not given come
            from the environment.

    Raises:
        InputError: If an option or a variable of the environment is invalid.
        TypeError: If an option is unknown. The message names the right one.
    """

    def __init__(
        self,
        base_url: BaseUrl | None = None,
        *,
        name: str = "reward_client",
        transform: Transform | None = None,
        **options: Unpack[IntegrationOptions],
    ) -> None:
        self.__name__ = name
        self._transform = transform
        self._options = options_of("RewardFunction", options, base_url)

    def __call__(
        self, /, prompts: Sequence[object], completions: Sequence[object], **columns: object
    ) -> list[float | None]:
        """Return a reward for each completion; None for one that failed by its own fault.

        Raises:
            InputError: If a completion fails by its own fault, and TRL would count None as 0.
            RewardClientError: If a reward is missing by a fault of the server, or if another model
                answers than at the first call.
        """
        rollouts = self._rollouts(prompts, completions)
        return self._logged(score(self._options, rollouts, self._transform), columns)

    def _rollouts(self, prompts: Sequence[object], completions: Sequence[object]) -> list[Rollout]:
        return policy_text_of(self._options).answered(prompts, completions)

    def _logged(self, batch: BatchRewards, columns: Mapping[str, object]) -> list[float | None]:
        log_metric = columns.get("log_metric")
        if callable(log_metric):
            log = cast("Callable[[str, float], object]", log_metric)
            for metric, value in batch.metrics().items():
                log(f"{self.__name__}/{metric}", value)
        if _adds_up(log_metric) or _is_old():
            return [*refuse_failures(batch)]
        return batch.values


class AsyncRewardFunction(RewardFunction):
    """A `RewardFunction` that TRL awaits together with its other asynchronous ones."""

    async def __call__(  # type: ignore[override]  # TRL looks for a coroutine function
        self, /, prompts: Sequence[object], completions: Sequence[object], **columns: object
    ) -> list[float | None]:
        """Return what `RewardFunction` returns."""
        rollouts = self._rollouts(prompts, completions)
        return self._logged(await score_async(self._options, rollouts, self._transform), columns)


def _adds_up(log_metric: object) -> bool:
    """Return True if the trainer, whose method is given, adds up several reward functions."""
    functions = listed(getattr(getattr(log_metric, "__self__", None), "reward_funcs", None))
    return len(functions or ()) > 1


@cache
def _is_old() -> bool:
    """Return True if this version of TRL leaves out no sample."""
    try:
        installed = version("trl")
    except PackageNotFoundError:
        return False
    parse = import_module("packaging.version").Version  # TRL depends on it
    return bool(parse(installed) < parse(_LEAVES_OUT))


def reward(
    prompts: Sequence[object], completions: Sequence[object], **columns: object
) -> list[float | None]:
    """Return the rewards of a `RewardFunction` with the options of the environment."""
    return _of_environment()(prompts, completions, **columns)


@cache
def _of_environment() -> RewardFunction:
    return RewardFunction(name="reward")
