"""The same rewards as torch: each kind of model, route, conversation and client."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reward_client import InputError, ObjectiveHead, PromptTooLongError, Reward, ScalarHead

from ..real.conversations import conversations, other_samples
from ..real.heads import LABELS, WEIGHTS, Setup, last, objectives, value, weighted
from ..real.ledger import Way
from ..real.openers import OPENERS
from ..real.servers import MAX_TOKENS
from ..support.either import Kind

if TYPE_CHECKING:
    from reward_client import RewardClientError

    from ..real.conversations import Sample
    from ..real.ledger import Ledger
    from .bench import Bench

ROUTES = ("auto", "classify", "encode", "embeddings")
SCALAR = (
    *("llama", "shipped", "qwen2-reward", "internlm2"),
    *("qwen2, bias of zero", "qwen3, bias of zero"),
)
# Those that SGLang 0.5.23 scores, or the client refuses; never a wrong number.
REFUSED: dict[str, type[RewardClientError]] = {
    "tools": InputError,
    "template argument": InputError,
    "tool message": InputError,
    "a token too many": PromptTooLongError,
}


def samples() -> dict[str, Sample]:
    """One of every kind; the longest input is a token shorter than the context."""
    longest = MAX_TOKENS - 1
    too_long = [6 + position % 200 for position in range(MAX_TOKENS)]
    return {
        **conversations(MAX_TOKENS),
        **other_samples(longest),
        "a token too many": too_long,
    }


SETUPS = {
    **{model: Setup(model, ScalarHead(), ROUTES, value, last, samples) for model in SCALAR},
    "five labels": Setup("labels", ObjectiveHead(5), ROUTES, objectives, last, samples),
    "weighted": Setup("labels", ObjectiveHead(LABELS, WEIGHTS), ROUTES, value, weighted, samples),
}


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("model", "name", "route"),
    [
        pytest.param(setup.model, name, route, id=f"{name}-{route}")
        for name, setup in SETUPS.items()
        for route in setup.routes
    ],
)
def test_numbers(
    bench: Bench, ledger: Ledger, model: str, name: str, route: str, kind: Kind
) -> None:
    setup = SETUPS[name]
    case = bench.case(model, setup.samples())
    expected = {name: setup.expected(reference) for name, reference in case.references.items()}

    with closing(OPENERS[kind](case.url, head=setup.head, route=route)) as client:
        slots = client.score_many(case.samples.values(), on_error="return")

    rewards = {}
    for sample, slot in zip(case.samples, slots, strict=True):
        if sample in REFUSED:
            assert type(slot) is REFUSED[sample], sample
            ledger.refuse(sample, slot)
        else:
            assert isinstance(slot, Reward), slot
            rewards[sample] = slot
    found = {name: setup.numbers(reward) for name, reward in rewards.items()}
    assert not ledger.wrong(Way(model, kind, name, route), found, expected)
    (provenance,) = {reward.provenance for reward in rewards.values()}
    assert route in ("auto", provenance.route)
    assert provenance.activation == "none"
