"""Methods by which SmolLM2-135M-Instruct writes, against transformers and torch."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

from reward_client import GenerationError, Reward
from reward_client.methods import Verdict, YesNo

from .checkpoints import LANGUAGE_MODEL
from .ledger import TOLERANCE, difference
from .openers import OPENERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client import RewardClientError
    from reward_client.methods import CritiqueThenScore

    from ..support.either import Kind
    from .bench import Bench
    from .conversations import Sample
    from .torch_process import Text

QUESTION = "Is the answer correct (Yes/No)?"
LEAD_IN = "In short, your answer is"
THINK = "In one short sentence: is that right?"
ROOM = 64  # tokens of a text
CHATS = [
    [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    for question, answer in [
        ("What is 2+2?", "4"),
        ("What is 2+2?", "It is 5, of course."),
        ("Which city is the capital of France?", "Paris."),
        ("Which city is the capital of France?", "It is Berlin."),
        ("Write a haiku about the sea.", "The sea is blue.\nIt is wide.\nThe end."),
        ("Translate 'cat' into Spanish.", "gato"),
    ]
]

_TEXTS: dict[str, list[Text]] = {}


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def yes_above_no(bench: Bench, chats: Sequence[Sample]) -> list[float]:
    """By torch, at the first token of the answer to the question that follows."""
    asked = [[*chat, turn("user", QUESTION)] for chat in chats]
    folder = bench.checkpoint(LANGUAGE_MODEL)
    rows = bench.torch.score(folder, asked, ("Yes", "No"), opened=True)
    return [row.last[0] - row.last[1] for row in rows]


def texts(bench: Bench, chats: Sequence[Sample], *, continues: bool = False) -> list[Text]:
    key = json.dumps([chats, continues])
    if key not in _TEXTS:  # torch takes longer than the servers
        folder = bench.checkpoint(LANGUAGE_MODEL)
        _TEXTS[key] = bench.torch.write(folder, chats, ROOM, continues=continues)
    return _TEXTS[key]


def assert_near(values: Sequence[float], expected: Sequence[float]) -> None:
    """Float32 in two engines: other orders of the same sums."""
    off = [difference(value, right) for value, right in zip(values, expected, strict=True)]
    assert max(off) <= TOLERANCE, off


def finished(
    outcomes: Sequence[Reward | RewardClientError], written: Sequence[Text]
) -> list[Reward]:
    """The rewards after texts that ended; all texts are, token by token, those of torch."""
    rewards: list[Reward] = []
    for outcome, text in zip(outcomes, written, strict=True):
        if isinstance(outcome, Reward):
            assert text.ended
            assert outcome.critiques == (text.text,)
            assert outcome.usage is not None
            assert outcome.usage.prompt_tokens == len(text.ids)
            assert outcome.usage.generated_tokens == len(text.written)
            rewards.append(outcome)
        else:
            assert isinstance(outcome, GenerationError)
            assert (text.ended, outcome.text) == (False, text.text)
    assert len(rewards) >= 2
    return rewards


def critiqued(
    bench: Bench, kind: Kind, url: str, method: CritiqueThenScore
) -> tuple[list[Reward], list[Sample]]:
    """The rewards after critiques that are torch's, and the conversations with these."""
    with closing(OPENERS[kind](url, method=method)) as client:
        outcomes = client.score_many(CHATS, on_error="return")
    written = texts(bench, [[*chat, turn("user", LEAD_IN)] for chat in CHATS], continues=True)
    longer: list[Sample] = [
        [*chat, turn("user", LEAD_IN + text.text)]
        for chat, text in zip(CHATS, written, strict=True)
        if text.ended
    ]
    return finished(outcomes, written), longer


def check_yes_or_no(bench: Bench, url: str, kind: Kind) -> None:
    """The difference of two logits at the first token of the answer."""
    with closing(OPENERS[kind](url, method=YesNo())) as client:
        rewards = client.score_many(CHATS)
    assert_near([reward.value for reward in rewards], yes_above_no(bench, CHATS))
    assert len({reward.value for reward in rewards}) == len(CHATS)


def check_reasoned(bench: Bench, url: str, kind: Kind) -> None:
    """The same after a text."""
    method = YesNo(reasoning=THINK, max_tokens=ROOM)
    with closing(OPENERS[kind](url, method=method)) as client:
        outcomes = client.score_many(CHATS, on_error="return")
    written = texts(bench, [[*chat, turn("user", THINK)] for chat in CHATS])
    rewards = finished(outcomes, written)
    longer = [
        [*chat, turn("user", THINK), turn("assistant", text.text)]
        for chat, text in zip(CHATS, written, strict=True)
        if text.ended
    ]
    assert_near([reward.value for reward in rewards], yes_above_no(bench, longer))


def check_verdicts(bench: Bench, url: str, kind: Kind) -> None:
    """The number that a text says, or the text in the error."""
    prompt = "{conversation}\n\nAnswer: {response}\n\nMark the answer from 1 to 10."
    method = Verdict(r"(\d+)", prompt, max_tokens=ROOM)
    with closing(OPENERS[kind](url, method=method)) as client:
        outcomes = client.score_many(CHATS, on_error="return")
    asked = [list(method.judge_prompt(chat[:1], [chat[1]["content"]]).messages) for chat in CHATS]
    for outcome, text in zip(outcomes, texts(bench, asked), strict=True):
        if isinstance(outcome, Reward):
            assert outcome.critiques == (text.text,)
            assert outcome.value == method.value(text.text)
        else:
            assert isinstance(outcome, GenerationError)
            assert outcome.text == text.text
