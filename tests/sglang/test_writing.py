"""A language model's logits and texts by `/generate`, against transformers and torch."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from reward_client import PromptTooLongError, Reward
from reward_client.methods import YesNo

from ..real.conversations import conversations
from ..real.ledger import Way
from ..real.openers import OPENERS
from ..real.servers import MAX_TOKENS
from ..real.writing import (
    QUESTION,
    check_reasoned,
    check_verdicts,
    check_yes_or_no,
    turn,
)
from ..support.either import Kind
from .models import WRITER
from .test_numbers import REFUSED

if TYPE_CHECKING:
    from ..real.ledger import Ledger
    from .bench import Bench

# A generating server keeps seven tokens of the context for itself.
LONGEST = MAX_TOKENS - 7


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["a language model"])
def test_numbers(bench: Bench, ledger: Ledger, model: str, kind: Kind) -> None:
    """By how much the logit of Yes exceeds that of No, for conversations of every kind."""
    server = bench.serve(model)
    answered = conversations(MAX_TOKENS).items()
    chats = {name: chat for name, chat in answered if chat[-1]["role"] == "assistant"}
    asked = [[*chat, turn("user", QUESTION)] for chat in chats.values()]
    folder = bench.checkpoint("untied")
    rows = bench.torch.score(folder, asked, ("Yes", "No"), opened=True)
    expected = {name: row.last[0] - row.last[1] for name, row in zip(chats, rows, strict=True)}
    too_long = {name for name, row in zip(chats, rows, strict=True) if len(row.ids) > LONGEST}

    with closing(OPENERS[kind](server.url, method=YesNo())) as client:
        slots = client.score_many(chats.values(), on_error="return")

    found = {}
    for name, slot in zip(chats, slots, strict=True):
        if isinstance(slot, Reward):
            found[name] = slot.value
        else:
            refused = (PromptTooLongError,) if name in too_long else REFUSED.get(name, ())
            assert isinstance(slot, refused), slot
            ledger.refuse(name, slot)
    assert not ledger.wrong(Way(model, kind, "yes minus no", "generate"), found, expected)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", [WRITER])
def test_yes_or_no(bench: Bench, model: str, kind: Kind) -> None:
    check_yes_or_no(bench, bench.serve(model).url, kind)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", [WRITER])
def test_yes_or_no_after_a_chain_of_thought(bench: Bench, model: str, kind: Kind) -> None:
    check_reasoned(bench, bench.serve(model).url, kind)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", [WRITER])
def test_a_verdict(bench: Bench, model: str, kind: Kind) -> None:
    check_verdicts(bench, bench.serve(model).url, kind)
