"""Rewards in ms-swift's GRPO, as the reward function ``reward_client``.

``--external_plugins $(python -m reward_client.integrations.ms_swift) --reward_funcs reward_client``

The options come from the environment. A sample that fails by its own fault gets None, which
ms-swift leaves out of its group. A fault of the server is waited for, and then raised: the step
stops.
"""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._integrations.clients import policy_text_of, score
from reward_client._integrations.environment import options_of


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
        self, completions: Sequence[str], messages: Sequence[object], **columns: object
    ) -> list[float | None]:
        """Return a reward for each conversation; None for one that failed by its own fault.

        Args:
            completions: Not read: the messages end with them.
            messages: The conversations.
            **columns: Not read.

        Raises:
            RewardClientError: If a reward is missing by a fault of the server, or if another model
                answers than at the first call.
        """
        return score(self._options, policy_text_of(self._options).conversations(messages)).values
