"""Marks as expectations: the probabilities of the labels at the verdict's place, or an error."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client import (
    ActivationError,
    GenerationError,
    InputError,
    ResponseMismatchError,
    values,
)
from reward_client._protocols.written import Position
from reward_client.methods import CritiqueThenScore, Verdict, YesNo
from reward_client.methods.expectation import expectation, is_rest
from reward_client.testing import RewardServer

from ..support.either import OPENERS, EitherClient, Kind
from ..support.scribe import Scribe

CHAT = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}]
MARKS = {str(mark): float(mark) for mark in range(1, 6)}
MARK = Verdict(
    r"\[RESULT\] ([1-5])", "Q: {conversation}\nA: {response}", values=MARKS, expected=True
)
PAIR = Verdict(
    r"\[\[([ABC])\]\]",
    "Q: {conversation}\nA: {response_a}\nB: {response_b}",
    values={"A": 1, "B": -1, "C": 0},
)
DIALECTS = ("0.8", "0.10", "0.12", "0.16", "0.20", "0.25", "0.32", "0.33")


def client_of(kind: Kind, scribe: Scribe, method: Any) -> EitherClient:
    return OPENERS[kind]("http://vllm", transport=scribe.transport(), method=method)


def served(writes: Any, **options: Any) -> Scribe:
    return Scribe(writes, serves=("/pooling", "/detokenize"), **options)


def position(token: int, chances: dict[int, float] | None = None) -> Position:
    """Return a generated token with the probabilities in its place."""
    told = {other: math.log(chance) for other, chance in (chances or {token: 1.0}).items()}
    return Position(token, told)


@pytest.mark.parametrize("kind", OPENERS)
def test_a_mark_by_hand(kind: Kind) -> None:
    scribe = served(
        lambda prompt, seed: "Fine. [RESULT] 4",
        chances=lambda prompt, last: {"4": 0.5, "5": 0.3, "1": 0.1, "x": 0.1},
    )
    with closing(client_of(kind, scribe, MARK)) as client:
        reward = client.score(CHAT)
    # 4 · 0.5 + 5 · 0.3 + 1 · 0.1, over 0.9.
    assert reward.value == pytest.approx(3.6 / 0.9, rel=1e-12)
    assert reward.critiques == ("Fine. [RESULT] 4",)
    (sent,) = [body for body in scribe.asked("/v1/completions") if "seed" in body]
    assert (sent["logprobs"], sent["temperature"]) == (20, 0.0)
    assert sent["return_tokens_as_token_ids"] is True


@pytest.mark.parametrize("kind", OPENERS)
def test_votes_are_averaged(kind: Kind) -> None:
    scribe = served(
        lambda prompt, seed: f"[RESULT] {1 + seed}",
        chances=lambda prompt, last: (
            {"1": 0.25, "2": 0.75} if last == "1" else {"2": 0.6, "5": 0.4}
        ),
    )
    with closing(client_of(kind, scribe, replace(MARK, votes=2))) as client:
        reward = client.score(CHAT)
    assert reward.value == pytest.approx((1.75 + 3.2) / 2)
    assert reward.provenance.temperature == 1.0


@pytest.mark.parametrize("kind", OPENERS)
def test_a_judge_of_two(kind: Kind) -> None:
    pair = replace(PAIR, pattern=r"winner: ([ABC])", expected=True)
    scribe = served(
        lambda prompt, seed: "winner: A", chances=lambda prompt, last: {"A": 0.8, "B": 0.2}
    )
    with closing(client_of(kind, scribe, pair)) as client:
        once = replace(pair, both_orders=False)
        ranking = client.rank("x", ["a", "b"])
        assert [each.preference for each in ranking.comparisons] == pytest.approx([0.6, 0.6])
        assert values(ranking.rewards) == [0.5, 0.5]
    with closing(client_of(kind, scribe, once)) as client:
        assert values(client.rank("x", ["a", "b"]).rewards) == pytest.approx([0.8, 0.2])


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_numbers_of_a_server(kind: Kind, dialect: str) -> None:
    """The small model writes a number after any question; the last digit is the verdict."""
    digits = {str(digit): float(digit) for digit in range(10)}
    verdict = Verdict(r"(\d)", "{response} What is 3+4? Mark it.", values=digits, expected=True)
    mode = "processed_logprobs" if dialect == "0.8" else "raw_logprobs"
    with (
        RewardServer(dialect=dialect, logprobs=mode) as server,
        closing(OPENERS[kind](server.url, method=verdict)) as client,
        httpx.Client(base_url=server.url) as plain,
    ):
        reward = client.score(CHAT)
        (text,) = reward.critiques
        body = {"prompt": [*client.tokenize(CHAT).token_ids], "max_tokens": 50, "temperature": 0}
        # By their texts: none of this model's labels shares its text with another token.
        reply = plain.post("/v1/completions", json={**body, "logprobs": 20}).json()
        told = reply["choices"][0]["logprobs"]
    place = max(n for n, token in enumerate(told["tokens"]) if token.strip() in digits)
    top = {t: math.exp(n) for t, n in told["top_logprobs"][place].items() if t.strip() in digits}
    mass = sum(top.values())
    assert reply["choices"][0]["text"] == text
    assert reward.value == pytest.approx(
        sum(digits[token.strip()] * chance for token, chance in top.items()) / mass, abs=1e-9
    )
    assert reward.value != round(reward.value)


@pytest.mark.parametrize("kind", OPENERS)
def test_labels_that_are_unlikely_at_their_place(kind: Kind) -> None:
    scribe = served(
        lambda prompt, seed: "[RESULT] 4", chances=lambda prompt, last: {"4": 0.49, "x": 0.51}
    )
    with (
        closing(client_of(kind, scribe, MARK)) as client,
        pytest.raises(GenerationError, match=r"a probability of 0\.490") as caught,
    ):
        client.score(CHAT)
    assert caught.value.text == "[RESULT] 4"


LABELS = {"1": {1}, "2": {2, 22}, "4": {4}, "5": {5}}


def weighted(chances: dict[int, float]) -> float:
    return expectation(MARKS, LABELS, position(4, chances), "m4")


def test_probabilities_by_hand() -> None:
    assert weighted({4: 1.0}) == 4.0
    assert weighted({4: 0.25, 5: 0.25, 9: 0.5}) == pytest.approx(4.5)  # half of all is enough
    assert weighted({4: 0.5, 2: 0.25, 22: 0.25}) == pytest.approx(3.0)  # "2" and " 2"
    with pytest.raises(GenerationError, match=r"a probability of 0\.400"):
        weighted({4: 0.4, 9: 0.6})


@pytest.mark.parametrize("numbers", [{4: 17.5, 2: 3.0}, {4: -0.1, 2: -0.2}, {4: 1e4, 2: 1.0}])
def test_logits_are_no_probabilities(numbers: dict[int, float]) -> None:
    with pytest.raises(ActivationError, match="reports logits"):
        expectation(MARKS, LABELS, Position(4, numbers), "4")


@given(st.dictionaries(st.integers(0, 6), st.floats(0.001, 1), min_size=1))
def test_any_distribution_is_a_number_of_the_range_or_an_error(weights: dict[int, float]) -> None:
    total = sum(weights.values())
    chances = {token: weight / total for token, weight in weights.items()}
    try:
        found = weighted(chances)
    except GenerationError:
        assert sum(chances.get(mark, 0) for mark in (1, 2, 4, 5)) < 0.5 + 1e-9
    else:
        assert 1 - 1e-9 <= found <= 5 + 1e-9


@pytest.mark.parametrize(
    ("text", "after", "last", "fits"),
    [
        ("[RESULT] 4", "", "", True),
        ("[RESULT] 4", "</s>", "</s>", True),
        ("[RESULT] 4 of 5", " of 5", "5", True),
        ("[RESULT] 4 of 5", "of 5</s>", "</s>", True),
        ("[RESULT] 4\n\n", "<|end|>", "<|end|>", True),
        ("[RESULT] 4 of 4", "", "", False),
        ("[RESULT] 4 of 4", "</s>", "</s>", False),
        ("[RESULT] 4 44", "44", "44", True),
        ("[RESULT] 4", "4", "4", False),  # no special token: the text ends with it
        ("[RESULT] 4 of 5", " of 4", "4", False),
    ],
)
def test_the_rest_of_a_text(text: str, after: str, last: str, fits: bool) -> None:
    assert is_rest(text, text.index("4") + 1, after, last) == fits


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("1 and 4, so [RESULT] 4 of 5 or 4", r"\[RESULT\] ([1-5])"),
        ("[RESULT] 4 4 4 [END] 4", r"\[RESULT\]\s*([1-5])"),
        ("[RESULT] 4.", r"\[RESULT\] ([1-5])"),
        ("4", "(.+)"),
        (" 4 \n", r"(.*)\n"),
    ],
)
def test_the_place_of_the_verdict(kind: Kind, text: str, pattern: str) -> None:
    """Digits before and after the verdict are other tokens, with other probabilities."""

    def change(request: httpx.Request, payload: Any) -> None:
        if b'"seed"' in request.content:
            tops = payload["choices"][0]["logprobs"]["top_logprobs"]
            for place, top in enumerate(tops):
                if place != index:
                    top["token_id:61"] = -9.0  # "3"
            tops[index] = {"token_id:62": math.log(0.75), "token_id:60": math.log(0.25)}
            payload["choices"][0]["logprobs"]["token_logprobs"][index] = math.log(0.75)

    index = text.index("[RESULT] 4") + 9 if "[RESULT]" in text else text.index("4")
    scribe = served(lambda prompt, seed: text, after=change)
    with closing(client_of(kind, scribe, replace(MARK, pattern=pattern))) as client:
        assert client.score(CHAT).value == pytest.approx(4 * 0.75 + 2 * 0.25)
        asked = len(scribe.asked("/detokenize"))
        assert client.score(CHAT).value == pytest.approx(3.5)
    # The text of the last token is known by now; the rest of the text is asked for again.
    assert len(scribe.asked("/detokenize")) - asked == asked - 1


@pytest.mark.parametrize("kind", OPENERS)
def test_a_label_that_is_part_of_a_token(kind: Kind) -> None:
    """The text was generated in other tokens than the label: "4." as one."""

    def change(request: httpx.Request, payload: Any) -> None:
        if b'"seed"' in request.content:
            told = payload["choices"][0]["logprobs"]
            told["tokens"][-2] = "token_id:777"

    scribe = served(lambda prompt, seed: "4 [RESULT] 4", after=change)
    with (
        closing(client_of(kind, scribe, MARK)) as client,
        pytest.raises(GenerationError, match="'4' is not one token of the text") as caught,
    ):
        client.score(CHAT)
    assert caught.value.text == "4 [RESULT] 4"


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("labels", [{"10": 10.0, "1": 1.0}, {"good": 1.0, "bad": 0.0}])
def test_labels_of_several_tokens(kind: Kind, labels: dict[str, float]) -> None:
    """One request for each label, once for the server."""
    scribe = served(lambda prompt, seed: f"[RESULT] {next(iter(labels))}")
    verdict = Verdict(r"\[RESULT\] (\w+)", "{response}", values=labels, expected=True)
    with closing(client_of(kind, scribe, verdict)) as client:
        outcomes = client.score_many([CHAT] * 20, on_error="return")
    assert {type(outcome) for outcome in outcomes} == {InputError}
    assert "tokens of this model, and must be one" in str(outcomes[0])
    texts = [body["prompt"] for body in scribe.asked("/tokenize") if "prompt" in body]
    assert texts.count(f"\n{next(iter(labels))}") == 1
    assert not [body for body in scribe.asked("/v1/completions") if "seed" in body]


@pytest.mark.parametrize("kind", OPENERS)
def test_a_label_after_the_mark_of_a_start(kind: Kind) -> None:
    """SentencePiece writes a token before the first word of a text, and none after a line break."""

    class Pieces(Scribe):
        def ids(self, body: Any) -> list[int]:
            return [7, *super().ids(body)] if "prompt" in body else super().ids(body)

    scribe = Pieces(lambda prompt, seed: "[RESULT] 4", serves=("/pooling", "/detokenize"))
    with closing(client_of(kind, scribe, MARK)) as client:
        assert client.score(CHAT).value == 4.0


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize(
    "change",
    [
        lambda choice: choice.pop("logprobs"),
        lambda choice: choice.update(logprobs=None),
        lambda choice: choice["logprobs"]["tokens"].pop(),
        lambda choice: choice["logprobs"]["token_logprobs"].append(0.0),
        lambda choice: choice["logprobs"]["top_logprobs"].__setitem__(-1, None),
        lambda choice: choice["logprobs"]["top_logprobs"][-1].update({"token_id:5": None}),
        lambda choice: choice["logprobs"]["token_logprobs"].__setitem__(0, "0"),
        lambda choice: choice["logprobs"].update(tokens="[RESULT] 4"),
        lambda choice: choice["logprobs"]["tokens"].__setitem__(0, "["),
        lambda choice: choice["logprobs"]["top_logprobs"].__setitem__(0, {"[": 0.0}),
    ],
)
def test_replies_without_probabilities(kind: Kind, change: Any) -> None:
    def changed(request: httpx.Request, payload: Any) -> None:
        if b'"seed"' in request.content:
            change(payload["choices"][0])

    scribe = served(lambda prompt, seed: "[RESULT] 4", after=changed)
    with closing(client_of(kind, scribe, MARK)) as client, pytest.raises(ResponseMismatchError):
        client.score(CHAT)


@pytest.mark.parametrize(
    "options",
    [
        {"values": None},
        {"values": {}},
        {"values": {str(mark): float(mark) for mark in range(21)}},
        {"values": {" 4": 4.0}},
        {"values": {"": 4.0}},
        {"temperature": 0.6},
        {"temperature": 1, "top_p": 0.9},
        {"temperature": 1, "top_k": 5},
        {"expected": "yes"},
    ],
)
def test_options_that_have_no_expectation(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(MARK, **options)
    assert replace(MARK, temperature=1).labels == tuple(MARKS)
    assert replace(MARK, expected=False).labels == ()


@pytest.mark.parametrize("kind", OPENERS)
def test_an_expectation_is_another_method(kind: Kind) -> None:
    scribe = served(lambda prompt, seed: "[RESULT] 4")
    digests: set[str | None] = set()
    for method in (MARK, replace(MARK, expected=False)):
        with closing(client_of(kind, scribe, method)) as client:
            digests.add(client.score(CHAT).provenance.method_digest)
    assert len(digests) == 2


@pytest.mark.parametrize("kind", OPENERS)
def test_sampling_options_are_sent_and_told(kind: Kind) -> None:
    method = Verdict(
        MARK.pattern, MARK.prompt, temperature=0.6, top_p=0.95, top_k=20, max_tokens=500
    )
    scribe = served(lambda prompt, seed: "[RESULT] 4")
    with closing(client_of(kind, scribe, method)) as client:
        provenance = client.score(CHAT).provenance
    (sent,) = [body for body in scribe.asked("/v1/completions") if "seed" in body]
    assert (sent["temperature"], sent["top_p"], sent["top_k"]) == (0.6, 0.95, 20)
    assert (provenance.temperature, provenance.top_p, provenance.top_k) == (0.6, 0.95, 20)


def test_sampling_options_are_part_of_the_settings() -> None:
    fingerprints: set[str] = set()
    scribe = served(lambda prompt, seed: "[RESULT] 4")
    for options in ({}, {"top_p": 0.9}, {"top_p": 0.8}, {"top_k": 5}):
        method: Any = Verdict(MARK.pattern, MARK.prompt, temperature=1.0, **options)
        transport = scribe.transport()
        with closing(OPENERS["sync"]("http://vllm", transport=transport, method=method)) as client:
            fingerprints.add(client.settings().fingerprint)  # type: ignore[attr-defined]
    assert len(fingerprints) == 4


@pytest.mark.parametrize(
    "options",
    [
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_p": -0.5},
        {"top_p": math.nan},
        {"top_p": "0.9"},
        {"top_p": True},
        {"top_k": 0},
        {"top_k": -1},
        {"top_k": 1.5},
        {"top_k": True},
        {"top_k": 2**70, "temperature": 0},
        {"top_p": 0.9, "temperature": 0},
        {"top_p": 0.9, "temperature": None},
        {"top_k": 9, "temperature": None},
    ],
)
def test_sampling_options_that_cannot_be(options: dict[str, Any]) -> None:
    given_options = {"temperature": 1.0, **options}
    for make in (
        lambda: Verdict("(x)", "{response}", **given_options),
        lambda: YesNo(reasoning="Think.", **given_options),
        lambda: CritiqueThenScore(critic="http://critic", **given_options),
    ):
        with pytest.raises(InputError, match="top_"):
            make()


def test_several_votes_may_be_limited() -> None:
    assert Verdict("(x)", "{response}", votes=4, top_p=0.95, top_k=40).effective_temperature == 1
