"""A token's logit, from every kind of server that has it, against torch."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reward_client import ActivationError, PromptTooLongError
from reward_client.methods import TokenLogit

from ..real.ledger import Way
from ..real.openers import OPENERS
from ..support.either import Kind
from .models import SERVED
from .servers import MAX_TOKENS

if TYPE_CHECKING:
    from ..real.ledger import Ledger
    from .bench import Bench

YES = TokenLogit("Yes", classifier_from_token=True)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("model", "route"),
    [
        ("exported token, untied", "pooling"),
        ("a language model", "completions"),
        ("a token as classifier", "pooling"),
        ("a language model, processed logits", "completions"),
    ],
)
def test_numbers(bench: Bench, ledger: Ledger, model: str, route: str, kind: Kind) -> None:
    """All are compared with the same numbers, and so with each other."""
    case = bench.case(model)
    # A server that generates needs room for one token more.
    room = MAX_TOKENS - (route == "completions")
    fitting = {
        name: case.samples[name] for name, each in case.references.items() if len(each.ids) <= room
    }
    with closing(OPENERS[kind](case.url, method=YES)) as client:
        for name in case.samples.keys() - fitting:
            with pytest.raises(PromptTooLongError):
                client.score(case.samples[name])
        rewards = dict(zip(fitting, client.score_many(fitting.values()), strict=True))
    assert len(fitting) >= len(case.samples) - 1
    found = {name: reward.value for name, reward in rewards.items()}
    way = Way(model, kind, "logit", route, SERVED[model].dtype)
    assert not ledger.wrong(way, found, case.rewards)
    (provenance,) = {reward.provenance for reward in rewards.values()}
    assert (provenance.route, provenance.method) == (route, "logit of token 'Yes'")


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["a language model, log-probabilities"])
def test_log_probabilities_are_refused(bench: Bench, model: str, kind: Kind) -> None:
    url = bench.serve(model).url
    with (
        closing(OPENERS[kind](url, method=YES)) as client,
        pytest.raises(ActivationError, match="--logprobs-mode raw_logits"),
    ):
        client.score([{"role": "user", "content": "2 + 2?"}])
