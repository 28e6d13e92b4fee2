"""Methods by which a model writes, with SmolLM2-135M-Instruct, against transformers and torch."""

from __future__ import annotations

from contextlib import closing
from math import exp, log
from typing import TYPE_CHECKING

import httpx
import pytest

from reward_client import (
    ActivationError,
    BadRequestError,
    GenerationError,
    Reward,
    RewardClient,
)
from reward_client.methods import CritiqueThenScore, Messages, TokenLogit, Verdict, YesNo

from ..real.checkpoints import LANGUAGE_MODEL
from ..real.ledger import TOLERANCE
from ..real.openers import OPENERS
from ..real.writing import (
    CHATS,
    LEAD_IN,
    ROOM,
    THINK,
    assert_near,
    check_reasoned,
    check_verdicts,
    check_yes_or_no,
    critiqued,
    turn,
    yes_above_no,
)
from ..support.either import Kind
from .models import WRITER
from .servers import MODEL_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .bench import Bench

HEAD = "exported dense and out_proj"
pytestmark = pytest.mark.beside(HEAD)

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


@pytest.fixture(scope="module")
def writer(bench: Bench) -> Iterator[str]:
    server = bench.serve_beside(WRITER)
    yield server.url
    bench.beside.stop()


@pytest.mark.parametrize("kind", OPENERS)
def test_yes_or_no(bench: Bench, writer: str, kind: Kind) -> None:
    check_yes_or_no(bench, writer, kind)


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", ["yes minus no"])
def test_yes_or_no_by_a_pooling_server(bench: Bench, model: str, kind: Kind) -> None:
    url = bench.serve(model).url
    with closing(OPENERS[kind](url, method=YesNo(classifier_from_token=True))) as client:
        rewards = client.score_many(CHATS)
    assert_near([reward.value for reward in rewards], yes_above_no(bench, CHATS))
    assert rewards[0].provenance.route == "pooling"


def test_the_server_says_the_same_of_yes_and_no(writer: str) -> None:
    """/generative_scoring answers the probability itself, to fewer digits of its logit."""
    labels: list[int] = []
    for word in ("Yes", "No"):
        body = {"model": MODEL_NAME, "prompt": word, "add_special_tokens": False}
        labels += httpx.post(f"{writer}/tokenize", json=body).json()["tokens"]
    with RewardClient(writer, method=YesNo()) as client:
        for chat in CHATS:
            *query, last = client.tokenize(chat).token_ids
            body = {"query": query, "items": [[last]], "label_token_ids": labels}
            response = httpx.post(
                f"{writer}/generative_scoring", json={"model": MODEL_NAME, **body}
            )
            (item,) = response.json()["data"]
            assert client.score(chat).sigmoid() == pytest.approx(item["score"], abs=TOLERANCE)


@pytest.mark.parametrize("kind", OPENERS)
def test_yes_or_no_after_a_chain_of_thought(bench: Bench, writer: str, kind: Kind) -> None:
    check_reasoned(bench, writer, kind)


@pytest.mark.parametrize("kind", OPENERS)
def test_votes(bench: Bench, writer: str, kind: Kind) -> None:
    method = YesNo(reasoning=THINK, votes=3, max_tokens=400, seed=7)
    with closing(OPENERS[kind](writer, method=method)) as client:
        reward = client.score(CHATS[0])
    assert len(set(reward.critiques)) == 3
    longer = [
        [*CHATS[0], turn("user", THINK), turn("assistant", text)] for text in reward.critiques
    ]
    mean = sum(1 / (1 + exp(-value)) for value in yes_above_no(bench, longer)) / 3
    assert_near([reward.value], [log(mean / (1 - mean))])


@pytest.mark.parametrize("kind", OPENERS)
def test_a_critique_on_one_server(bench: Bench, writer: str, kind: Kind) -> None:
    """The user's turn is continued, and a token's logit read after it."""
    method = CritiqueThenScore(
        lead_in=LEAD_IN, reward=TokenLogit("Yes", classifier_from_token=True), max_tokens=ROOM
    )
    rewards, longer = critiqued(bench, kind, writer, method)
    rows = bench.torch.score(bench.checkpoint(LANGUAGE_MODEL), longer, ("Yes",))
    assert_near([reward.value for reward in rewards], [row.reward for row in rows])


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", [HEAD])
def test_a_critique_on_two_servers(bench: Bench, writer: str, model: str, kind: Kind) -> None:
    """CLoud's head, exported, reads what another model wrote."""
    url = bench.serve(model).url
    method = CritiqueThenScore(lead_in=LEAD_IN, critic=writer, max_tokens=ROOM)
    rewards, longer = critiqued(bench, kind, url, method)
    references = bench.references(model, longer)
    assert_near([reward.value for reward in rewards], [each.reward for each in references])


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("model", [HEAD, "llama"])
def test_an_image_for_a_model_of_text_is_refused(bench: Bench, model: str, kind: Kind) -> None:
    url = f"data:image/png;base64,{PIXEL}"
    image = {"type": "image_url", "image_url": {"url": url}}
    seen = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    with closing(OPENERS[kind](bench.serve(model).url, method=Messages())) as client:
        error, reward = client.score_many([seen, CHATS[0]], on_error="return")
    assert isinstance(reward, Reward)
    assert isinstance(error, BadRequestError)
    assert "multimodal model" in str(error)


@pytest.mark.parametrize("kind", OPENERS)
def test_a_verdict(bench: Bench, writer: str, kind: Kind) -> None:
    check_verdicts(bench, writer, kind)


@pytest.mark.parametrize("kind", OPENERS)
def test_an_expected_verdict_of_logits(writer: str, kind: Kind) -> None:
    """This server reports logits: its digits have no probability, and the texts stay readable."""
    digits = {str(digit): float(digit) for digit in range(10)}
    prompt = "{conversation}\n\nAnswer: {response}\n\nMark the answer from 1 to 9."
    method = Verdict(r"(\d)", prompt, values=digits, expected=True, max_tokens=ROOM)
    with closing(OPENERS[kind](writer, method=method)) as client:
        outcomes = client.score_many(CHATS, on_error="return")
    assert any(isinstance(outcome, ActivationError) for outcome in outcomes)
    assert all(isinstance(outcome, ActivationError | GenerationError) for outcome in outcomes)
