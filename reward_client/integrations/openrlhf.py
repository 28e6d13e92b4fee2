"""Rewards in OpenRLHF: ``--reward.remote_url $(python -m reward_client.integrations.openrlhf)``.

The options come from the environment. ``REWARD_CLIENT_POLICY_TOKENIZER`` names the policy's
tokenizer, which reads the messages in OpenRLHF's texts.

OpenRLHF cannot leave out a sample, and hides the errors of reward functions: it goes on without a
reward, and then stops with an error of its own. So each error is logged with its reason. A sample
that fails by its own fault is such an error, unless ``REWARD_CLIENT_FAILED`` gives its number. A
fault of the server is waited for, and then raised.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from reward_client._integrations.clients import policy_text_of, score
from reward_client._integrations.environment import Options, options_of
from reward_client._integrations.outcomes import refuse_failures
from reward_client.errors import RewardClientError

_logger = logging.getLogger("reward_client")


def reward_func(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[object]
) -> dict[str, Any]:
    """Return the rewards of texts in the policy's chat template.

    Args:
        queries: The prompts with their answers, special tokens included.
        prompts: The prompts in the template.
        labels: Not read.

    Returns:
        ``"rewards"`` and ``"scores"``, tensors of shape (queries,), and ``"extra_logs"``.

    Raises:
        InputError: If a sample fails by its own fault, and ``REWARD_CLIENT_FAILED`` is not set.
        RewardClientError: If a reward is missing by a fault of the server, or if another model
            answers than at the first call.
    """
    try:
        options = _options()
        batch = score(options, policy_text_of(options).whole(queries, prompts))
        refuse_failures(batch)
    except RewardClientError:
        _logger.exception("OpenRLHF will stop, since there is no reward.")
        raise
    torch = import_module("torch")
    rewards = torch.tensor(batch.values, dtype=torch.float32)
    failed = torch.tensor([float(error is not None) for error in batch.errors])
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"reward_failed": failed}}


@cache
def _options() -> Options:
    return options_of("reward_func", {})


if __name__ == "__main__":
    print(__file__)
