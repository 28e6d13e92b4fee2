"""No text of a model and no pattern of a caller keeps the process busy for long."""

from __future__ import annotations

import re
import time
import warnings
from types import SimpleNamespace

import pytest

from reward_client._base import patterns
from reward_client._base.patterns import SEARCHED_CHARACTERS
from reward_client._client.config import verdict_of
from reward_client.errors import GenerationError, InputError
from reward_client.methods import Verdict
from reward_client.recipes import catalogue

LENGTH = 200_000
JUDGES = {
    name: verdict
    for name, recipe in catalogue().items()
    if (verdict := verdict_of(recipe)) is not None
}
HOSTILE = [
    "<answer>" + " " * LENGTH + "x",
    "<answer>" * (LENGTH // 8),
    "<answer>[[" + "A " * LENGTH,
    "<answer>" + "]] " * LENGTH,
    "[[" + " " * LENGTH,
    "[[ " * LENGTH,
    "[The Begin of Ranking Score]" + " " * LENGTH,
    "[The Begin of Ranking Score]\\boxed{" * (LENGTH // 35),
    "[The Begin of Ranking Score]\\boxed{" + " " * LENGTH,
    "[RESULT]" + " " * LENGTH,
    "[RESULT](" * (LENGTH // 9),
]


@pytest.mark.parametrize("name", JUDGES)
def test_41_patterns_that_ship_are_linear(name: str) -> None:
    for text in HOSTILE:
        started = time.process_time()
        with pytest.raises(GenerationError, match="contains"):
            JUDGES[name].value(text)
        assert time.process_time() - started < 0.9


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(a+)+$", "a" * 5_000 + "b"),
        (r"<a>\s*(.*?)\s*(.*?)\s*</a>|(x)", "<a>" + " " * 5_000 + "</a"),
        (r"((a*)*)\2b\2c", "a" * 3_000 + "bxc"),
        (r"(?i)(.*)*ß$", "aß" * 3_000 + "x"),
    ],
)
def test_41_a_pattern_that_backtracks_ends_at_its_deadline(pattern: str, text: str) -> None:
    verdict = Verdict(pattern=pattern, prompt="{response}")
    started = time.monotonic()
    with pytest.raises(GenerationError, match="takes more than 1 s") as caught:
        verdict.value(text)
    assert time.monotonic() - started < 10
    assert caught.value.text == text


@pytest.mark.parametrize(
    ("pattern", "write"),
    [
        (r"(\d+){d}", r"Write \{"),
        (r"((?:a|b)+?){e<=3}c*$", r"Write \{"),
        (r"(\d+){}", r"Write \{"),
        (r'{"score": (\d+)}', r"Write \{"),
        (r"\\{(\d)", r"Write \{"),
        (r"[[:digit:]]+(\d)", r"[:digit:]"),
        (r"[^a[:^alpha:]](\d)", r"[:^alpha:]"),
        (r"\p{L}(\d)", "valid"),
        (r"(?V1)(\d)", "valid"),
        (r"a\K(\d)", "valid"),
    ],
)
def test_41_a_pattern_with_another_meaning_than_in_re(pattern: str, write: str) -> None:
    with pytest.raises(InputError, match="pattern=") as caught:
        Verdict(pattern=pattern, prompt="{response}").value("12{d}")
    assert write in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r'\{"score": (\d+)\}', '{"score": 3}'),
        (r"(\d{1,2})", "12"),
        (r"(\d{2})", "12"),
        (r"(\d{2,})", "123"),
        (r"[{](\d)", "{4"),
        (r"[]{](\d)", "{4"),
        (r"[\]{](\d)", "{4"),
        (r"\N{DIGIT ONE}(\d)", "12"),
        (r"[[](\d)", "[4"),
        (r"[[:](\d)", ":4"),
    ],
)
def test_braces_and_brackets_that_mean_the_same(pattern: str, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        expected = re.findall(pattern, text)[-1]
    assert Verdict(pattern=pattern, prompt="{response}").value(text) == float(expected)


def test_41_a_search_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhaust(*_: object, **__: object) -> None:
        raise MemoryError

    searching = SimpleNamespace(finditer=exhaust)
    monkeypatch.setattr(patterns, "compile_pattern", lambda _: searching)
    with pytest.raises(GenerationError, match="too much memory"):
        patterns.last_group(r"(\d+)", "12")


def test_41_an_endless_text_is_not_searched() -> None:
    verdict = Verdict(pattern=r"(\d+)", prompt="{response}")
    assert verdict.value("x" * (SEARCHED_CHARACTERS - 1) + "7") == 7
    with pytest.raises(GenerationError, match="1,000,000"):
        verdict.value("x" * SEARCHED_CHARACTERS + "7")


def answered(name: str, text: str) -> float | None:
    judge = next(verdict for key, verdict in JUDGES.items() if key.startswith(name))
    try:
        return judge.value(text)
    except GenerationError:
        return None


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rm-r1", "<answer>A</answer>", 1),
        ("rm-r1", "<answer>\n [[ B ]] \n</answer>", -1),
        ("rm-r1", "<answer>[[A]]</answer> no: <answer>B</answer>", -1),
        ("rm-r1", "<answer>A</answer> or <answer>neither <b>one</b></answer>", None),
        ("rm-r1", "<answer>A</answer> or <answer>B\nor A</answer>", None),
        ("rm-r1", "<answer>A", None),
        ("skywork-critic", "[[A]], no: [[ B ]]", -1),
        ("skywork-critic", "[[A]], or [[a[0]]]", None),
        ("skywork-critic", "[[\nA\n]]", 1),
        ("nemotron-genrm", "[The Begin of Ranking Score]\n\\boxed{ 2 }\n[The End]", 0.6),
        ("nemotron-genrm", "[The Begin of Ranking Score]\\boxed{\\text{3}}", None),
    ],
)
def test_they_find_the_same_verdicts(name: str, text: str, value: float | None) -> None:
    assert answered(name, text) == value
