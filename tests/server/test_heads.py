"""Every head, on every route that serves its kind of model, against torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
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

from ..either import OPENERS, Kind
from .conversations import (
    STEP_TOKEN,
    Sample,
    conversations,
    judged_conversations,
    judgements,
    other_samples,
    step_samples,
    turns,
)
from .ledger import Numbers, Way
from .models import SERVED
from .servers import MAX_TOKENS

if TYPE_CHECKING:
    from pathlib import Path

    from reward_client import Reward

    from .bench import Bench
    from .ledger import Ledger
    from .torch_process import Reference

Head = ScalarHead | ObjectiveHead | StepHead | LinearHead

LABELS = ("helpful", "correct", "coherent", "complex", "verbose")
WEIGHTS = {"helpful": 0.5, "correct": 1.0, "verbose": -0.25}
LAYER = np.random.default_rng(8967).normal(size=(3, 128)).astype(np.float32)
BIAS = np.asarray([0.5, -1.0, 2.0], dtype=np.float32)


def scalar_samples() -> dict[str, Sample]:
    return {**conversations(MAX_TOKENS), **other_samples(MAX_TOKENS)}


def value(reward: Reward) -> float:
    return reward.value


def objectives(reward: Reward) -> list[float]:
    return list(reward.objectives.values())


def last(reference: Reference) -> list[float]:
    return reference.last


def weighted(reference: Reference) -> float:
    labels = dict(zip(LABELS, reference.last, strict=True))
    return sum(labels[name] * weight for name, weight in WEIGHTS.items())


def yes_minus_no(reference: Reference) -> float:
    no, yes = reference.last
    return yes - no


def linear(reference: Reference) -> list[float]:
    return [float(number) for number in LAYER.astype(float) @ reference.last + BIAS]


def steps(reward: Reward) -> list[float]:
    """All numbers of a reward with steps."""
    rows = [number for step in reward.steps for number in (step.value, *(step.logits or ()))]
    return [reward.value, *rows]


def probability(row: list[float]) -> float:
    """Of the second label, or of the only one."""
    bad, good = row if len(row) == 2 else (0.0, row[0])
    return 1 / (1 + math.exp(bad - good))


AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "min": min,
    "product": math.prod,
    "mean": lambda values: sum(values) / len(values),
    "last": lambda values: values[-1],
    "logit_sum": lambda values: sum(math.log(each / (1 - each)) for each in values),
}


def aggregated(aggregate: str) -> Callable[[Reference], list[float]]:
    def expected(reference: Reference) -> list[float]:
        values = [probability(row) for row in reference.steps]
        pairs = zip(values, reference.steps, strict=True)
        return [
            AGGREGATES[aggregate](values),
            *(number for p, row in pairs for number in (p, *row)),
        ]

    return expected


@dataclass(frozen=True)
class Setup:
    """A head and the kind of model that it is for.

    Attributes:
        routes: Those by which a server of that kind gives its numbers.
        numbers: Read out of a reward.
        expected: The same, out of a reference.
    """

    model: str
    head: Head
    routes: tuple[str, ...]
    numbers: Callable[[Reward], Numbers]
    expected: Callable[[Reference], Numbers]
    samples: Callable[[], Mapping[str, Sample]] = scalar_samples


SEQUENCE = ("auto", "pooling", "classify")
TOKENS = ("auto", "pooling")
HIDDEN = ("auto", "embeddings", "pooling")

NO_AND_YES = ObjectiveHead(["No", "Yes"])

SETUPS = {
    "one label": Setup("llama", ScalarHead(), SEQUENCE, value, last),
    "one of one": Setup("llama", ObjectiveHead(["reward"]), SEQUENCE, objectives, last),
    "every token": Setup("qwen2-reward", ScalarHead(), TOKENS, value, last),
    "linear": Setup("hidden states", LinearHead(LAYER, BIAS), HIDDEN, objectives, linear),
    "five labels": Setup("labels", ObjectiveHead(5), SEQUENCE, objectives, last),
    "weighted": Setup("labels", ObjectiveHead(LABELS, WEIGHTS), SEQUENCE, value, weighted),
    **{
        f"steps of {labels}, {aggregate}": Setup(
            model,
            StepHead(step_token=STEP_TOKEN, good_label=good_label, aggregate=aggregate),
            TOKENS,
            steps,
            aggregated(aggregate),
            step_samples,
        )
        for labels, model, good_label in (("one", "qwen2-reward", None), ("two", "prm", 1))
        for aggregate in AGGREGATES
    },
    "no and yes": Setup("yes and no", NO_AND_YES, SEQUENCE, objectives, last, judged_conversations),
    # Not the conversations: there, torch's own bfloat16 is up to 3e-2 away from its float32.
    "no and yes, bfloat16": Setup(
        "yes and no, bfloat16", NO_AND_YES, SEQUENCE, objectives, last, judgements
    ),
    "yes minus no": Setup(
        "yes minus no", ScalarHead(), SEQUENCE, value, yes_minus_no, judged_conversations
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

    with closing(OPENERS[kind](case.url, head=setup.head, route=route)) as client:
        rewards = dict(zip(case.samples, client.score_many(case.samples.values()), strict=True))

    found = {name: setup.numbers(reward) for name, reward in rewards.items()}
    way = Way(model, kind, name, route, SERVED[model].dtype)
    assert not ledger.wrong(way, found, expected)
    assert {reward.token_count for reward in rewards.values()} == {
        len(reference.ids) for reference in case.references.values()
    }
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
