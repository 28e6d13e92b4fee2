"""What every method does: prompts in, rewards out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TypeAlias

from reward_client.errors import ResponseMismatchError
from reward_client.fleet import Fleet
from reward_client.rewards import Reward, TokenizedSample
from reward_client.samples import Prompt

__all__ = ["MAX_STANDARDS", "Scorer", "Settle", "always_another"]

Settle: TypeAlias = Callable[[Mapping[int, Reward | Exception]], None]
"""Takes outcomes of prompts by their numbers, as soon as they are there."""

MAX_STANDARDS = 5
"""How many models may take each other's place under one sample before that is a failure."""


class Scorer(ABC):
    """Has prompts scored by the servers of one event loop."""

    @abstractmethod
    async def tokenize(self, prompt: Prompt) -> TokenizedSample:
        """The token IDs that a prompt would be scored as.

        Raises:
            RewardClientError: They are not to be had.
        """

    @abstractmethod
    async def score_each(self, prompts: Mapping[int, Prompt], settle: Settle) -> None:
        """The rewards of prompts, each by its number.

        Args:
            prompts: The prompts; those that share requests are neighbours.
            settle: Is told the outcomes.

        Raises:
            RewardClientError: None of the rest can be scored.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Stops what is under way, and waits until it has stopped."""

    async def score(self, prompt: Prompt) -> Reward:
        """The reward of one prompt.

        Raises:
            RewardClientError: Of any kind but `BatchError`.
        """
        outcomes: dict[int, Reward | Exception] = {}
        await self.score_each({0: prompt}, outcomes.update)
        outcome = outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def always_another(fleet: Fleet) -> ResponseMismatchError:
    """The error for a model that is another one each time."""
    return ResponseMismatchError(
        f"The server at {fleet.standard.serving.profile.url} was another one each of "
        f"{MAX_STANDARDS} times: several servers that differ seem to share this address."
    )
