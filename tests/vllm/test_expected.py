"""Marks weighted by their probabilities, by SmolLM2-135M-Instruct, against torch."""

from __future__ import annotations

from contextlib import closing
from math import exp
from typing import TYPE_CHECKING

import pytest

from reward_client import GenerationError, Reward
from reward_client.methods import Verdict

from ..real.checkpoints import LANGUAGE_MODEL
from ..real.ledger import TOLERANCE, difference
from ..real.openers import OPENERS
from ..support.either import Kind
from .models import WEIGHING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..real.torch_process import Text
    from .bench import Bench

pytestmark = pytest.mark.beside("exported dense and out_proj")

MARKS = {str(digit): float(digit) for digit in range(10)}
METHOD = Verdict(
    r"(\d)",
    "{conversation}\n\nAnswer: {response}\n\nIs it right? Reply with one digit from 1 to 9.",
    values=MARKS,
    expected=True,
    max_tokens=32,
)
CHATS = [
    [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    for question, answer in [
        ("What is 2+2?", "4"),
        ("What is 2+2?", "It is 5, of course."),
        ("How many legs has a spider?", "8"),
        ("Which city is the capital of France?", "Paris."),
        ("Which city is the capital of France?", "It is Berlin."),
        ("Translate 'cat' into Spanish.", "gato"),
    ]
]


@pytest.fixture(scope="module")
def url(bench: Bench) -> Iterator[str]:
    server = bench.serve_beside(WEIGHING)
    yield server.url
    bench.beside.stop()


@pytest.fixture(scope="module")
def texts(bench: Bench) -> list[Text]:
    asked = [[*METHOD.judge_prompt(chat[:1], [chat[1]["content"]]).messages] for chat in CHATS]
    return bench.torch.write(bench.checkpoint(LANGUAGE_MODEL), asked, METHOD.max_tokens)


def shares_of(text: Text) -> dict[str, float] | None:
    """The probability of each digit in the place of the last one, by torch."""
    places = [place for place, token in enumerate(text.choices) if token[0][0].strip() in MARKS]
    if not places:
        return None
    shares = dict.fromkeys(MARKS, 0.0)
    for token, logprob in text.choices[places[-1]]:
        if token.strip() in MARKS:
            shares[token.strip()] += exp(logprob)
    return shares


@pytest.mark.parametrize("kind", OPENERS)
def test_an_expected_mark(url: str, texts: list[Text], kind: Kind) -> None:
    with closing(OPENERS[kind](url, method=METHOD)) as client:
        outcomes = client.score_many(CHATS, on_error="return")
    values: list[float] = []
    for outcome, text in zip(outcomes, texts, strict=True):
        shares = shares_of(text)
        if isinstance(outcome, GenerationError):
            assert outcome.text == text.text
            assert shares is None or not text.ended or sum(shares.values()) < 0.5
            continue
        assert isinstance(outcome, Reward), outcome
        assert outcome.critiques == (text.text,)
        assert shares is not None
        mean = sum(MARKS[label] * share for label, share in shares.items()) / sum(shares.values())
        assert difference(outcome.value, mean) <= TOLERANCE
        values.append(outcome.value)
    assert len(values) >= 3
    assert all(value != round(value) for value in values)
    assert len(set(values)) == len(values)
