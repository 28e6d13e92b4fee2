"""The same rewards as torch: each kind of model, route, conversation and client."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reward_client import (
    InputError,
    ObjectiveHead,
    PromptTooLongError,
    Reward,
    RouteNotFoundError,
    ScalarHead,
)

from ..real.heads import LABELS, WEIGHTS, Setup, last, objectives, value, weighted
from ..real.ledger import Way
from ..real.openers import OPENERS
from ..support.either import Kind
from .samples import every_kind

if TYPE_CHECKING:
    from reward_client import RewardClientError

    from ..real.ledger import Ledger
    from .bench import Bench

ROUTES = ("auto", "classify", "encode", "embeddings")
SCALAR = (
    *("llama", "shipped", "qwen2-reward", "qwen3-reward", "gemma2, classifier", "internlm2"),
    *("qwen2, bias of zero", "qwen3, bias of zero"),
)
# These may be refused, with this error; no sample may get a wrong number.
# Before 0.5.4 there is no /tokenize, which a local tokenizer needs for tools.
TOOLS = (InputError, RouteNotFoundError)
REFUSED: dict[str, tuple[type[RewardClientError], ...]] = {
    "tools": TOOLS,
    "template argument": (InputError,),
    "tool message": TOOLS,
    "a token too many": (PromptTooLongError,),
}


SETUPS = {
    **{model: Setup(model, ScalarHead(), ROUTES, value, last, every_kind) for model in SCALAR},
    "five labels": Setup("labels", ObjectiveHead(5), ROUTES, objectives, last, every_kind),
    "weighted": Setup(
        "labels", ObjectiveHead(LABELS, WEIGHTS), ROUTES, value, weighted, every_kind
    ),
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

    options = {"head": setup.head, "route": route, **bench.options(model)}
    with closing(OPENERS[kind](case.url, **options)) as client:
        slots = client.score_many(case.samples.values(), on_error="return")

    rewards = {}
    for sample, slot in zip(case.samples, slots, strict=True):
        if isinstance(slot, Reward):
            rewards[sample] = slot
        else:
            assert isinstance(slot, REFUSED.get(sample, ())), slot
            ledger.refuse(sample, slot)
    assert "a token too many" not in rewards
    found = {name: setup.numbers(reward) for name, reward in rewards.items()}
    assert not ledger.wrong(Way(model, kind, name, route), found, expected)
    (provenance,) = {reward.provenance for reward in rewards.values()}
    assert route in ("auto", provenance.route)
    assert provenance.activation == "none"
