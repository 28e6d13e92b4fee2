"""What ends the server is never sent to it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reward_client import InputError, Reward

from ..real.openers import OPENERS
from ..real.writing import assert_near
from ..support.either import Kind
from .samples import SAMPLE, SAMPLES, named

if TYPE_CHECKING:
    from ..real.conversations import Sample
    from .bench import Bench

KILLERS: dict[str, Sample] = {
    "past the vocabulary": [1, 3, 4_000],
    "at the end of the vocabulary": [1, 3, 512],
    "far past it": [1, 2**31],
    "only a bad one": [100_000],
    "negative": [1, -1],
    "no tokens": [],
}


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("route", ["classify", "encode", "embeddings"])
def test_alone_and_among_others(bench: Bench, route: str, kind: Kind) -> None:
    """The others get their rewards, and the server lives."""
    case = bench.case("llama", named(SAMPLES))
    server = bench.serve("llama")
    with closing(OPENERS[kind](case.url, route=route, **bench.options("llama"))) as client:
        for killer in KILLERS.values():
            with pytest.raises(InputError):
                client.score(killer)
        mixed = [*SAMPLES, *KILLERS.values(), *SAMPLES]
        slots = client.score_many(mixed, on_error="return")
        assert server.alive
        good, bad = [*slots[:8], *slots[-8:]], slots[8:-8]
        assert {type(slot) for slot in bad} == {InputError}
        assert_near([slot.value for slot in good], 2 * list(case.rewards.values()))
        assert isinstance(client.score(SAMPLE), Reward)
