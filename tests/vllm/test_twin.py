"""The test server's arithmetic, tokenizer and template are those of a real vLLM, for its model."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reward_client.testing import RewardServer

from ..real.ledger import TOLERANCE, difference
from ..real.openers import OPENERS
from ..support.either import kind_of

if TYPE_CHECKING:
    from ..support.either import EitherClient
    from .bench import Case


@pytest.mark.parametrize("model", ["shipped"])
def test_the_test_server_gives_the_same_tokens_and_rewards(
    case: Case, scorer: EitherClient
) -> None:
    with RewardServer() as twin, closing(OPENERS[kind_of(scorer)](twin.url)) as client:
        for name, sample in case.samples.items():
            assert client.tokenize(sample).token_ids == scorer.tokenize(sample).token_ids, name
            real, twins = scorer.score(sample).value, client.score(sample).value
            assert difference(twins, real) < TOLERANCE, name
