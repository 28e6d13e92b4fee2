"""A server with an API key."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reward_client import AuthenticationError

from ..real.conversations import turns
from ..real.ledger import TOLERANCE, difference
from ..real.openers import OPENERS
from .models import API_KEY as RIGHT

if TYPE_CHECKING:
    from .bench import Bench

WRONG = "sk-wrong-0123456789abcdef"


@pytest.mark.parametrize("model", ["llama, API key"])
@pytest.mark.parametrize("kind", OPENERS)
def test_api_key(bench: Bench, model: str, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = bench.serve(model).url
    sample = turns("What is 2+2?", "The answer is 4.")
    (reference,) = bench.references(model, [sample])

    with closing(OPENERS[kind](url, api_key=RIGHT)) as scorer:
        reward = scorer.score(sample)
        shown = [repr(scorer), repr(reward)]
    for key in (WRONG, None):
        with closing(OPENERS[kind](url, api_key=key)) as scorer:
            with pytest.raises(AuthenticationError) as caught:
                scorer.score(sample)
            shown += [
                repr(scorer),
                repr(caught.value),
                str(caught.value),
                str(vars(caught.value)),
            ]

    assert difference(reward.value, reference.reward) <= TOLERANCE
    assert not [text for text in (*shown, caplog.text) if RIGHT in text or WRONG in text]
    assert "reward_client" in caplog.text
