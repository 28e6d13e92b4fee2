"""The trap itself, on the wire: without the client's switch, a server answers a sigmoid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import httpx
import pytest

from ..real.ledger import TOLERANCE, difference
from .servers import MODEL_NAME

if TYPE_CHECKING:
    from ..support.either import EitherClient
    from .bench import Case


@pytest.mark.parametrize("model", ["llama"])
@pytest.mark.parametrize("name", ["one turn", "system", "emoji"])
def test_reward_is_the_logit_of_what_the_server_answers_unasked(
    case: Case, scorer: EitherClient, name: str
) -> None:
    body = {"model": MODEL_NAME, "input": case.references[name].ids}
    unasked = httpx.post(f"{case.url}/pooling", json=body).json()["data"][0]["data"][0]

    reward = scorer.score(case.samples[name]).value

    assert difference(unasked, reward) > 100 * TOLERANCE
    assert difference(math.log(unasked / (1 - unasked)), reward) < TOLERANCE
