"""Rewards in ms-swift's GRPO, as the reward function ``reward_client``.

``--external_plugins $(python -m reward_client.integrations.ms_swift) --reward_funcs reward_client``

The options come from the environment.

ms-swift can leave out no sample: it counts None as 0. So a sample that fails by its own fault stops
the training with its error, unless ``REWARD_CLIENT_FAILED`` gives its number. A fault of the server
is waited for, and then stops the training as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._integrations.clients import policy_text_of, score
from reward_client._integrations.environment import options_of
from reward_client._integrations.outcomes import refuse_failures


class RewardModel:
    """A reward function of ms-swift.

    Args:
        args: Not read.
        **options: Not read.

    Raises:
        InputError: If a variable of the environment is invalid.
    """

    def __init__(self, args: object = None, **options: object) -> None:
        self._options = options_of("RewardModel", {})

    def __call__(
        self, completions: Sequence[str], /, messages: Sequence[object], **columns: object
    ) -> list[float]:
        """Return a reward for each conversation.

        Args:
            completions: Not read: the messages end with them.
            messages: The conversations.
            **columns: Not read.

        Raises:
            InputError: If a conversation fails by its own fault, and ``REWARD_CLIENT_FAILED`` is
                not set.
            RewardClientError: If a reward is missing by a fault of the server, or if another model
                answers than at the first call.
        """
        rollouts = policy_text_of(self._options).conversations(messages)
        return refuse_failures(score(self._options, rollouts))
