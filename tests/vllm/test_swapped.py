"""Another model comes up behind the URL while the client is idle.

Its number is the only right one: neither the old model's, nor the new one's read the old way.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest

from reward_client import NotARewardError, Reward, RewardClientError

from ..real.ledger import TOLERANCE, difference
from ..real.openers import OPENERS

if TYPE_CHECKING:
    from ..support.either import EitherClient
    from .bench import Bench, Case


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("llama", "llama, other weights", id="other weights"),
        pytest.param("llama, other weights", "qwen2-reward", id="another kind"),
        pytest.param("qwen2-reward", "llama", id="and back", marks=pytest.mark.all),
    ],
)
def test_rewards_are_those_of_the_model_that_serves_now(
    bench: Bench, before: str, after: str
) -> None:
    old = bench.case(before)
    with ExitStack() as stack:
        scorers = [stack.enter_context(closing(cls(old.url))) for cls in OPENERS.values()]
        for scorer in scorers:
            assert not [slot for slot in slots(scorer, old) if isinstance(slot, RewardClientError)]
        new = bench.case(after)
        # An old number would not pass for a new one.
        for name in old.rewards.keys() & new.rewards.keys():
            assert difference(old.rewards[name], new.rewards[name]) > 10 * TOLERANCE, name
        for scorer in scorers:
            slots(scorer, new)
            assert not [slot for slot in slots(scorer, new) if isinstance(slot, RewardClientError)]


@pytest.mark.parametrize(("before", "after"), [("shipped", "hidden states")])
def test_hidden_states_are_refused(bench: Bench, before: str, after: str) -> None:
    """Also by clients that knew a reward model at this URL."""
    old = bench.case(before)
    with ExitStack() as stack:
        scorers = [stack.enter_context(closing(cls(old.url))) for cls in OPENERS.values()]
        for scorer in scorers:
            slots(scorer, old)
        bench.serve(after)
        scorers += [stack.enter_context(closing(cls(old.url))) for cls in OPENERS.values()]
        for scorer in scorers:
            for sample in old.samples.values():
                with pytest.raises(NotARewardError):
                    scorer.score(sample)


def slots(scorer: EitherClient, case: Case) -> list[Reward | RewardClientError]:
    """Every sample's reward or error, after a look at the rewards."""
    found = scorer.score_many(case.samples.values(), on_error="return")
    for slot, (name, reward) in zip(found, case.rewards.items(), strict=True):
        if not isinstance(slot, RewardClientError):
            assert difference(slot.value, reward) <= TOLERANCE, name
    return found
