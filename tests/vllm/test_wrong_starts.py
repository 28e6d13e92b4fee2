"""Servers that were started otherwise than a reward model needs.

Each gives the right number or the right error for every sample: `WRONG_STARTS` says which.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest

from reward_client import (
    ModelNotFoundError,
    NotARewardError,
    PromptTooLongError,
    RewardClientError,
    RouteNotFoundError,
)

from ..real.conversations import turns
from ..real.ledger import TOLERANCE, Way, difference
from ..real.openers import OPENERS
from ..support.either import Kind
from .servers import MODEL_NAME

if TYPE_CHECKING:
    from ..real.ledger import Ledger
    from ..real.torch_process import Reference
    from .bench import Bench

SHORT = 32


@dataclass(frozen=True)
class WrongStart:
    """What comes of samples on a server that was started wrongly.

    Attributes:
        error: The error of those that get one.
        fails: Whether a sample is one of them.
        cure: What the message tells to do.
    """

    error: type[RewardClientError] | None = None
    fails: Callable[[Reference], bool] = lambda _: False
    cure: str = ""


def always(reference: Reference) -> bool:
    return True


WRONG_STARTS = {
    "hidden states": WrongStart(NotARewardError, always, "--runner pooling"),
    "hidden states, every token": WrongStart(RouteNotFoundError, always, "--runner pooling"),
    "llama, sigmoid": WrongStart(),
    "llama, every token": WrongStart(),
    "llama, 32 tokens": WrongStart(
        PromptTooLongError, lambda reference: len(reference.ids) > SHORT, "--max-model-len"
    ),
}
HEALTHY = "llama"


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", WRONG_STARTS)
def test_the_right_number_or_the_right_error(
    bench: Bench, ledger: Ledger, model: str, kind: Kind
) -> None:
    wrong = WRONG_STARTS[model]
    case = bench.case(model)
    with closing(OPENERS[kind](case.url)) as client:
        slots = client.score_many(case.samples.values(), on_error="return")

    outcomes = dict(zip(case.samples, slots, strict=True))
    refused = {name: slot for name, slot in outcomes.items() if isinstance(slot, Exception)}
    fail = {name for name, reference in case.references.items() if wrong.fails(reference)}
    assert refused.keys() == fail
    assert {type(error) for error in refused.values()} == ({wrong.error} if fail else set())
    assert all(wrong.cure in str(error) for error in refused.values())
    values = {name: slot.value for name, slot in outcomes.items() if name not in refused}
    expected = {name: case.references[name].reward for name in values}
    assert not ledger.wrong(Way(model, kind), values, expected)


@pytest.mark.parametrize("model", ["llama, sigmoid", "llama, every token", "llama, 32 tokens"])
def test_what_is_wrong_shows_in_the_bare_answer(bench: Bench, model: str) -> None:
    """Else these starts would prove nothing."""
    case = bench.case(model)
    name = "short answer" if model == "llama, 32 tokens" else "one turn"
    limit = httpx.get(f"{case.url}/v1/models").json()["data"][0]["max_model_len"]
    body = {"model": MODEL_NAME, "input": case.references[name].ids}
    item = httpx.post(f"{case.url}/pooling", json=body).json()["data"][0]["data"]
    assert (limit == SHORT) == (model == "llama, 32 tokens")
    assert isinstance(item[0], list) == (model == "llama, every token")
    last = item[-1][0] if isinstance(item[-1], list) else item[-1]
    assert difference(last, case.references[name].reward) > 100 * TOLERANCE


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["llama, every token"])
def test_a_route_that_the_task_does_not_serve(bench: Bench, model: str, kind: Kind) -> None:
    """It is mounted all the same."""
    client = OPENERS[kind](bench.serve(model).url, route="classify")
    with closing(client), pytest.raises(RouteNotFoundError):
        client.score(turns("What is 2+2?", "4"))


@pytest.mark.parametrize("kind", OPENERS)
def test_another_models_name(bench: Bench, kind: Kind) -> None:
    url = bench.serve(HEALTHY).url
    sample = turns("What is 2+2?", "4")
    with closing(OPENERS[kind](url, model="another-model")) as client:
        with pytest.raises(ModelNotFoundError) as caught:
            client.score(sample)
        assert "'another-model'" in str(caught.value)
        assert f"lists: {MODEL_NAME}." in str(caught.value)
        (slot,) = client.score_many([sample], on_error="return")
        assert type(slot) is ModelNotFoundError
