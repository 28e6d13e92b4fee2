"""Rewards in verl's reward loop, by a manager or by a function of one's own.

The manager has the messages of the prompt::

    reward.reward_manager.source=importlib
    reward.reward_manager.name=RewardClientManager
    reward.reward_manager.module.path=pkg://reward_client.integrations.verl
    +reward.custom_reward_function.reward_kwargs.base_url=http://localhost:8000

Options come from ``reward_kwargs``, as above, or from the environment of verl's workers. If verl
runs the reward model itself, its router is the server.

verl can leave out no sample: it wants a number for each, and NaN spoils the whole group. So a
sample that fails by its own fault stops the training with its error, unless ``failed`` gives its
number. A fault of the server is waited for, and then stops the training as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, cast

from reward_client._integrations.clients import policy_text_of, score_async
from reward_client._integrations.environment import Options, options_of
from reward_client._integrations.outcomes import refuse_failures
from reward_client.errors import InputError


class _Value(NamedTuple):
    reward: float
    is_failed: bool
    stripped: int


async def compute_score(
    data_source: object,
    solution_str: str,
    ground_truth: object,
    extra_info: Mapping[str, object] | None = None,
    *,
    reward_router_address: str | None = None,
    reward_model_tokenizer: object = None,
    **options: object,
) -> dict[str, float]:
    """Return the reward of an answer, for verl's own managers.

    verl passes no prompt. The data set has to hold it: the column ``extra_info`` has the messages,
    or the user's words, under ``prompt``.

    Args:
        data_source: Not read.
        solution_str: The answer.
        ground_truth: Not read.
        extra_info: A mapping with the prompt.
        reward_router_address: The host and port of verl's router, if verl runs the reward model.
        reward_model_tokenizer: Not read.
        **options: verl's ``reward_kwargs``: the options of `reward_client.RewardClient`, except
            ``transport``; ``patience``, ``strip_reasoning`` and ``failed``.

    Returns:
        The reward as ``score``, 1.0 as ``reward_failed`` if ``failed`` gave its number, and the
        count of characters of reasoning that were left out.

    Raises:
        InputError: If there is no prompt, if an option is invalid, or if the sample fails by its
            own fault and ``failed`` is not given.
        RewardClientError: If the reward is missing by a fault of the server, or if another model
            answers than at the first call.
    """
    prompt = (extra_info or {}).get("prompt")
    if prompt is None:
        raise InputError(
            "Cannot score an answer without its prompt: verl passes none to compute_score. Put the "
            "messages of the prompt into the column extra_info, under prompt, or take "
            "RewardClientManager, which has them."
        )
    read = _options("compute_score", options, reward_router_address)
    value = await _value(read, prompt, solution_str)
    return {
        "score": value.reward,
        "reward_failed": float(value.is_failed),
        "reasoning_stripped": float(value.stripped),
    }


def __getattr__(name: str) -> Any:
    """Make `RewardClientManager` when it is imported: verl is loaded then."""
    if name == "RewardClientManager":
        return _manager()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _manager() -> type:
    base = import_module("verl.experimental.reward_loop.reward_manager.base").RewardManagerBase

    class RewardClientManager(base):  # type: ignore[misc, valid-type]  # verl may be missing
        """A manager of verl's reward loop with the rewards of a server, for which it waits.

        It scores ``raw_prompt`` with the answer, and reads no ``compute_score``.
        """

        def __init__(
            self,
            config: Any,
            tokenizer: Any,
            compute_score: object,
            reward_router_address: str | None = None,
            reward_model_tokenizer: object = None,
        ) -> None:
            base.__init__(self, config, tokenizer, compute_score)
            options = _options("RewardClientManager", _reward_kwargs(config), reward_router_address)
            if options.strip_reasoning and options.policy_tokenizer is None:
                # Its template says whether a prompt opens a block of reasoning.
                options = replace(options, policy_tokenizer=tokenizer)
            self._options = options

        async def run_single(self, data: Any) -> dict[str, object]:
            """Return the reward of the last sequence, under the same keys for each."""
            item = data[-1]
            prompt = item.non_tensor_batch.get("raw_prompt")
            if prompt is None:
                raise InputError(
                    "Cannot score an answer without its prompt: the batch has no raw_prompt. Set "
                    "data.return_raw_chat=True, or let the data set return it."
                )
            answer = self.tokenizer.decode(_answer_ids(item.batch, self.tokenizer))
            value = await _value(self._options, prompt, answer)
            return {
                "reward_score": value.reward,
                "reward_extra_info": {
                    "reward_failed": float(value.is_failed),
                    "reasoning_stripped": float(value.stripped),
                },
            }

    RewardClientManager.__module__ = __name__
    RewardClientManager.__qualname__ = "RewardClientManager"
    return RewardClientManager


def _options(name: str, given: Mapping[str, object], router: str | None) -> Options:
    """Return the options. verl's router is the server, unless another one is given by argument."""
    options = given if router is None else {"base_url": f"http://{router}", **given}
    return options_of(name, options)


def _reward_kwargs(config: Any) -> Mapping[str, object]:
    """Return the options in verl's configuration, as plain values."""
    select = import_module("omegaconf").OmegaConf.select
    kwargs = select(config, "reward.custom_reward_function.reward_kwargs")
    if kwargs is None:
        return {}
    plain = import_module("omegaconf").OmegaConf.to_container(kwargs, resolve=True)
    return cast("Mapping[str, object]", plain)


def _answer_ids(batch: Any, tokenizer: Any) -> Sequence[int]:
    """Return the token IDs of an answer without padding, and without the ends that follow it."""
    responses = batch["responses"]
    length = int(batch["attention_mask"][-responses.shape[-1] :].sum())
    ids: list[int] = responses[:length].tolist()
    while ids and ids[-1] in (tokenizer.eos_token_id, tokenizer.pad_token_id):
        ids.pop()
    return ids


async def _value(options: Options, prompt: object, answer: object) -> _Value:
    batch = await score_async(options, policy_text_of(options).answered([prompt], [answer]))
    (reward,), (error,), (stripped,) = refuse_failures(batch), batch.errors, batch.stripped
    return _Value(reward, error is not None, stripped)
