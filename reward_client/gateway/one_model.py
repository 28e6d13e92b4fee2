"""One model for all callers, from the start to the end: another one has another scale."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from reward_client._base.results import Provenance, Reward, Settings
from reward_client._client.async_client import AsyncRewardClient, known_settings
from reward_client._integrations.clients import refuse_other_model
from reward_client.gateway.contracts.contract import Outcome

_REMEMBERED = 64
"""The most provenances of the model that are remembered: each discovery of a server makes one."""


class OneModel:
    """Refuses the rewards of another model than that of the start.

    Args:
        client: The client.
    """

    def __init__(self, client: AsyncRewardClient) -> None:
        self._client = client
        self._first: Settings | None = None
        self._known: deque[Provenance] = deque(maxlen=_REMEMBERED)

    async def check(self) -> None:
        """Compare the model that answers now with that of the start.

        Raises:
            ModelChangedError: If it is another one.
            RewardClientError: If the servers cannot be asked.
        """
        settings = await known_settings(self._client)
        if self._first is None:
            self._first = settings
        refuse_other_model(
            self._first,
            settings,
            start="at the start of the gateway",
            remedy="restart the gateway for another run",
        )

    async def check_rewards(self, outcomes: Sequence[Outcome]) -> None:
        """Check the model if a server gave its first reward since it was discovered.

        Raises:
            ModelChangedError: If another model gave the rewards.
            RewardClientError: If the servers cannot be asked.
        """
        rewards = [outcome for outcome in outcomes if isinstance(outcome, Reward)]
        # All rewards since a discovery share one object, which takes no time to compare.
        made = {id(reward.provenance): reward.provenance for reward in rewards}
        new = made.keys() - {id(known) for known in self._known}
        if new:
            await self.check()
            self._known.extend(made[each] for each in new)
