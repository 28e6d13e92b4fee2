"""Rewards in slime: ``--custom-rm-path reward_client.integrations.slime.reward --group-rm``.

The options come from the environment. The policy's tokenizer is slime's ``--hf-checkpoint``, unless
``REWARD_CLIENT_POLICY_TOKENIZER`` names another one.

With ``--group-rm``, a sample that fails by its own fault is left out: ``remove_sample`` masks its
loss, and the mean of the others in its group stands for its reward, which leaves the mean of the
group as it is. Without ``--group-rm`` the others are not known, and such a sample raises an error,
unless ``REWARD_CLIENT_FAILED`` gives its number. A fault of the server is waited for, and then
raised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Protocol, overload

from reward_client._integrations.clients import policy_text_of, score_async
from reward_client._integrations.environment import Options, options_of
from reward_client._integrations.outcomes import BatchRewards, refuse_failures


class SlimeSample(Protocol):
    """The part of slime's ``Sample`` that is read or set here."""

    prompt: str | Sequence[object]
    response: str
    remove_sample: bool


@overload
async def reward(args: object, sample: SlimeSample, **options: object) -> float: ...


@overload
async def reward(args: object, sample: Sequence[SlimeSample], **options: object) -> list[float]: ...


async def reward(
    args: object, sample: SlimeSample | Sequence[SlimeSample], **options: object
) -> float | list[float]:
    """Return the reward of a sample, or those of a group.

    Args:
        args: The arguments of slime.
        sample: A sample, or the samples of a group. Those that fail by their own fault get
            ``remove_sample = True``.
        **options: Not read.

    Raises:
        InputError: If a single sample fails by its own fault, and ``REWARD_CLIENT_FAILED`` is not
            set.
        RewardClientError: If a reward is missing by a fault of the server, or if another model
            answers than at the first call.
    """
    if not isinstance(sample, Sequence):
        (value,) = refuse_failures(await _scored(args, [sample]))
        return value
    batch = await _scored(args, sample)
    neutral = math.fsum(batch.rewards) / len(batch.rewards) if batch.rewards else 0.0
    for each, error in zip(sample, batch.errors, strict=True):
        if error is not None:
            each.remove_sample = True
    return [neutral if value is None else value for value in batch.values]


async def _scored(args: object, samples: Sequence[SlimeSample]) -> BatchRewards:
    # A prompt without a template is the user's words, although the policy has a tokenizer.
    uses_template = bool(getattr(args, "apply_chat_template", True))
    options = _options(getattr(args, "hf_checkpoint", None) if uses_template else None)
    if not uses_template:
        options = replace(options, policy_tokenizer=None)
    rollouts = policy_text_of(options).answered(
        [sample.prompt for sample in samples], [sample.response for sample in samples]
    )
    return await score_async(options, rollouts)


@cache
def _options(policy_tokenizer: str | None) -> Options:
    options = options_of("reward", {})
    if options.policy_tokenizer is None:
        return replace(options, policy_tokenizer=policy_tokenizer)
    return options
