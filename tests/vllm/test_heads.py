"""Every head, on every route that serves its kind of model, against torch."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Literal

import pytest
from safetensors.numpy import save_file

from reward_client import (
    LinearHead,
    NotARewardError,
    ObjectiveHead,
    RewardClientError,
    RouteNotFoundError,
    ScalarHead,
    ShapeError,
    StepHead,
)

from ..real.checkpoints import BIAS, LAYER
from ..real.conversations import STEP_TOKEN, turns
from ..real.heads import Head, linear
from ..real.ledger import Way
from ..real.openers import OPENERS
from ..support.cells import cell
from ..support.either import Kind
from .heads import SETUPS
from .install import CPU_BUILDS
from .models import SERVED

if TYPE_CHECKING:
    from pathlib import Path

    from ..real.ledger import Ledger
    from .bench import Bench


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("model", "name", "route"),
    [
        pytest.param(
            setup.model,
            name,
            route,
            id=f"{name}-{route}",
            marks=[cell(version, setup.cell, setup.taken(route), "raw") for version in CPU_BUILDS],
        )
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
        rewards = dict(zip(case.samples, client.score_many(case.samples.values()), strict=True))

    found = {name: setup.numbers(reward) for name, reward in rewards.items()}
    way = Way(model, kind, name, route, SERVED[model].dtype)
    assert not ledger.wrong(way, found, expected)
    (provenance,) = {reward.provenance for reward in rewards.values()}
    assert route in ("auto", provenance.route)
    assert provenance.activation == "none"


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["hidden states"])
def test_a_layer_from_a_file(
    bench: Bench, ledger: Ledger, tmp_path: Path, model: str, kind: Kind
) -> None:
    """One output, as of a reward model; the file has other tensors too."""
    path = tmp_path / "model.safetensors"
    save_file({"a": BIAS, "score.weight": LAYER[:1], "score.bias": BIAS[:1]}, path)
    case = bench.case(model)
    expected = {name: linear(reference)[0] for name, reference in case.references.items()}

    head = LinearHead.load(path, bias="score.bias")
    with closing(OPENERS[kind](case.url, head=head, route="embeddings")) as client:
        values = map(float, client.score_many(case.samples.values()))

    found = dict(zip(case.samples, values, strict=True))
    assert not ledger.wrong(Way(model, kind, "linear, from a file", "embeddings"), found, expected)


MISFITS: dict[str, Head | Literal["auto"]] = {
    "auto": "auto",
    "scalar": ScalarHead(),
    "two objectives": ObjectiveHead(2),
    "four objectives": ObjectiveHead(4),
    "steps of one": StepHead(step_token=STEP_TOKEN, good_label=None, aggregate="min"),
    "steps of two": StepHead(step_token=STEP_TOKEN, good_label=1, aggregate="min"),
    "steps of three": StepHead(step_token=STEP_TOKEN, good_label=2, aggregate="min"),
    "linear": LinearHead(LAYER),
    "linear of 64": LinearHead(LAYER[:, :64]),
}


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("model", "head", "error"),
    [
        ("llama", "two objectives", ShapeError),
        ("llama", "steps of one", RouteNotFoundError),
        ("llama", "linear", RouteNotFoundError),
        ("qwen2-reward", "two objectives", ShapeError),
        ("qwen2-reward", "steps of two", ShapeError),
        ("qwen2-reward", "linear", RouteNotFoundError),
        ("hidden states", "scalar", NotARewardError),
        ("hidden states", "four objectives", NotARewardError),
        ("hidden states", "steps of one", RouteNotFoundError),
        ("hidden states", "linear of 64", ShapeError),
        ("labels", "auto", ShapeError),
        ("labels", "scalar", ShapeError),
        ("labels", "four objectives", ShapeError),
        ("labels", "steps of two", RouteNotFoundError),
        ("labels", "linear", RouteNotFoundError),
        ("prm", "auto", ShapeError),
        ("prm", "scalar", ShapeError),
        ("prm", "two objectives", ShapeError),
        ("prm", "steps of one", ShapeError),
        ("prm", "steps of three", ShapeError),
        ("prm", "linear", RouteNotFoundError),
    ],
)
def test_a_head_that_does_not_fit_is_refused(
    bench: Bench, model: str, head: str, error: type[RewardClientError], kind: Kind
) -> None:
    sample = turns("What is 2+2?", f"4{STEP_TOKEN}")
    with closing(OPENERS[kind](bench.serve(model).url, head=MISFITS[head])) as client:
        with pytest.raises(error) as caught:
            client.score(sample)
        (slot,) = client.score_many([sample], on_error="return")
    assert (type(caught.value), type(slot)) == (error, error)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["labels"])
def test_objectives_without_weights_are_no_number(bench: Bench, model: str, kind: Kind) -> None:
    with closing(OPENERS[kind](bench.serve(model).url, head=ObjectiveHead(5))) as client:
        reward = client.score(turns("What is 2+2?", "4"))
    assert list(reward.objectives) == [f"label_{index}" for index in range(5)]
    with pytest.raises(TypeError, match="objectives"):
        float(reward)
