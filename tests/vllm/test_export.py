"""Exported checkpoints on a real vLLM, and as sentence-transformers reads them, against torch."""

from __future__ import annotations

from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from reward_client import StepHead
from reward_client.methods import Messages

from ..real.conversations import judged_conversations
from ..real.heads import last
from ..real.ledger import LIBRARY, TOLERANCE, Way, difference
from ..real.openers import OPENERS
from ..support.cells import cell
from ..support.either import Kind
from .exports import EXPORTED
from .install import CPU_BUILDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..real.ledger import Ledger, Numbers
    from .bench import Bench

# Its body is in no library: transformers would need the code in the model's repository.
NOT_IN_LIBRARY = {"exported v_head, InternLM2"}


def assert_they_vary(expected: Mapping[str, Numbers]) -> None:
    """Else a head that answers the same number whatever comes would pass."""
    every = list(expected.values())
    assert max(difference(numbers, every[0]) for numbers in every) > 1000 * TOLERANCE


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("model", "route"),
    [
        pytest.param(
            model,
            route,
            id=f"{model}-{route}",
            marks=[cell(version, setup.cell, setup.taken(route), "raw") for version in CPU_BUILDS],
        )
        for model, setup in EXPORTED.items()
        for route in setup.routes
    ],
)
def test_numbers(bench: Bench, ledger: Ledger, model: str, route: str, kind: Kind) -> None:
    """Through `/tokenize`, then `/v1/embeddings`, and for steps `/pooling`."""
    setup = EXPORTED[model]
    case = bench.case(model, setup.samples())
    expected = {name: setup.expected(reference) for name, reference in case.references.items()}

    with closing(OPENERS[kind](case.url, head=setup.head, route=route)) as client:
        rewards = dict(zip(case.samples, client.score_many(case.samples.values()), strict=True))

    found = {name: setup.numbers(reward) for name, reward in rewards.items()}
    assert_they_vary(expected)
    assert not ledger.wrong(Way(model, kind, "exported", route), found, expected)
    (provenance,) = {reward.provenance for reward in rewards.values()}
    assert provenance.route == setup.taken(route)
    assert provenance.activation == "none"


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    "model",
    [
        name
        for name, setup in EXPORTED.items()
        # Steps, and what is formatted text, go by their token IDs.
        if not isinstance(setup.head, StepHead) and setup.samples is not judged_conversations
    ],
)
def test_messages_in_the_scoring_request(
    bench: Bench, ledger: Ledger, model: str, kind: Kind
) -> None:
    """Many conversations in one, which the server tokenizes."""
    setup = EXPORTED[model]
    case = bench.case(model, setup.samples())
    expected = {name: setup.expected(reference) for name, reference in case.references.items()}
    url, samples = case.url, list(case.samples.values())

    with closing(OPENERS[kind](url, head=setup.head, method=Messages())) as client:
        client.score_many(samples)  # compared with their token IDs, of each form some
        rewards = client.score_many(samples)

    assert sum(reward.token_count is None for reward in rewards) > len(samples) / 2
    found = {name: setup.numbers(each) for name, each in zip(case.samples, rewards, strict=True)}
    assert not ledger.wrong(Way(model, kind, "exported", "messages"), found, expected)


@pytest.mark.parametrize("name", [name for name in EXPORTED if name not in NOT_IN_LIBRARY])
def test_the_library_gives_the_same_numbers(bench: Bench, ledger: Ledger, name: str) -> None:
    """For token IDs and for texts that become these; for steps its modules at the step tokens."""
    setup = EXPORTED[name]
    samples = setup.samples()
    rows = bench.references(name, samples.values())
    references = dict(zip(samples, rows, strict=True))
    embeddings = dict(zip(samples, bench.embed(name, samples.values(), rows), strict=True))
    in_steps = isinstance(setup.head, StepHead)
    at_the_last = last if in_steps else setup.expected
    expected = {name: at_the_last(reference) for name, reference in references.items()}

    found = {name: embedding.last for name, embedding in embeddings.items()}
    assert_they_vary(expected)
    assert not ledger.wrong(Way(name, LIBRARY, "token IDs"), found, expected)
    texts = {name: each.encoded for name, each in embeddings.items() if each.encoded}
    assert texts
    assert not ledger.wrong(Way(name, LIBRARY, "text"), texts, expected)
    if in_steps:
        found = {name: [*chain(*each.steps)] for name, each in embeddings.items()}
        expected = {name: [*chain(*each.steps)] for name, each in references.items()}
        assert not ledger.wrong(Way(name, LIBRARY, "steps"), found, expected)
