"""What holds on any reward server, also on one that is not ours (`--url`): no reference needed."""

from __future__ import annotations

import math
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import httpx
import pytest

from reward_client import Reward

from ..real.conversations import conversations
from ..real.ledger import TOLERANCE, difference
from ..real.openers import OPENERS
from .servers import MAX_TOKENS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..real.conversations import Messages
    from ..support.either import EitherClient


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    return request.config.getoption("url") or request.getfixturevalue("bench").serve("llama").url


@pytest.fixture
def scorers(request: pytest.FixtureRequest, url: str) -> Iterator[list[EitherClient]]:
    options = {"model": request.config.getoption("model")}
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(open_client(url, **options)))
            for open_client in OPENERS.values()
        ]


@pytest.fixture
def samples(scorers: list[EitherClient]) -> dict[str, Messages]:
    limit = scorers[0].tokenize([{"role": "user", "content": "Hi."}]).max_model_len
    return conversations(min(limit or MAX_TOKENS, MAX_TOKENS))


def test_both_clients_agree_and_values_are_finite(
    scorers: list[EitherClient], samples: dict[str, Messages]
) -> None:
    """Templates may refuse a conversation (two user turns, a tool's message): then both do."""
    by_client = [scorer.score_many(samples.values(), on_error="return") for scorer in scorers]
    scored = 0
    for name, one, other in zip(samples, *by_client, strict=True):
        assert type(one) is type(other), name
        if isinstance(one, Reward):
            scored += 1
            assert math.isfinite(one.value), name
            assert difference(one.value, other.value) <= TOLERANCE, name
            assert one.token_digest == other.token_digest, name
    assert scored >= len(samples) / 2


def test_token_ids_equal_the_servers_without_generation_prompt(
    scorers: list[EitherClient], samples: dict[str, Messages], url: str
) -> None:
    template = {"add_generation_prompt": False, "continue_final_message": False}
    (profile,) = scorers[0].servers()
    for name in ("one turn", "emoji", "special tokens", "near the limit"):
        body = {"model": profile.model, "messages": samples[name], **template}
        response = httpx.post(f"{url.removesuffix('/v1')}/tokenize", json=body, timeout=30).json()
        for scorer in scorers:
            assert list(scorer.tokenize(samples[name]).token_ids) == response["tokens"]
