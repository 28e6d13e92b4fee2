"""Pitfalls of a caller's own values: rewards that are compared, samples that are made by hand."""

from __future__ import annotations

import pytest

from reward_client import Provenance, Reward

PROVENANCE = Provenance(
    model="m",
    server_version="0.32.0",
    route="pooling",
    activation="none",
    activation_known_by="request",
    head="scalar",
    tokenizer="server",
    client_version="0",
)


def reward(value: float, **provenance: str) -> Reward:
    return Reward.of_checked(scalar=value, provenance=PROVENANCE.model_copy(update=provenance))


@pytest.mark.parametrize(
    "other",
    [{"model": "n"}, {"method": "messages"}, {"method_digest": "d"}, {"head": "first of 2"}],
)
def test_52_rewards_of_unlike_scales_have_no_order(other: dict[str, str]) -> None:
    mine, others = reward(1.0), reward(2.0, **other)
    for compare in (
        lambda: mine < others,
        lambda: max(mine, others),
        lambda: sorted([others, mine]),
    ):
        with pytest.raises(TypeError, match="Cannot order rewards of different models or methods"):
            compare()
    assert max(mine, others, key=float) is others


def test_52_rewards_of_one_model_have_an_order() -> None:
    low, high = reward(1.0), reward(2.0, server_version="0.31.0", recipe="r")
    assert max(low, high) is high
