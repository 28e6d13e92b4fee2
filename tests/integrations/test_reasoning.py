"""Blocks of reasoning in answers: stripped, or an error, never taken for the answer."""

from __future__ import annotations

import pytest

from reward_client import InputError
from reward_client._integrations.reasoning import open_block, without_reasoning

THINK = ("think",)


@pytest.mark.parametrize(
    ("answer", "opened", "kept"),
    [
        ("4", None, "4"),
        ("", None, ""),
        (" 4\n", None, " 4\n"),
        ("<think>2 and 2</think>4", None, "4"),
        ("<think>\n2 and 2\n</think>\n\n4 \n", None, "4 \n"),
        ("\n<think></think>\n\n4", None, "4"),
        ("<think>a</think>4<think>b</think>5", None, "45"),
        ("It is <think>a</think> 4", None, "It is  4"),
        ("<think>a <think> b</think>4", None, "4"),
        ("2 and 2</think>\n4", None, "4"),
        ("2 and 2</think>\n4", "think", "4"),
        ("<think>2 and 2</think>\n4", "think", "4"),
        ("</think>4", "think", "4"),
        ("<think>a</think>", None, ""),
        ("<reason>a</reason>4", None, "<reason>a</reason>4"),
        ("<think >a", None, "<think >a"),
    ],
)
def test_what_is_left(answer: str, opened: str | None, kept: str) -> None:
    found = without_reasoning(answer, THINK, opened)
    assert found.answer == kept
    assert (found.characters > 0) == ("think>" in answer)


@pytest.mark.parametrize(
    ("answer", "opened", "says"),
    [
        ("<think>2 and 2", None, "<think> does not end"),
        ("4", "think", "<think> does not end"),
        ("", "think", "<think> does not end"),
        ("<think>a</think>4<think>b", None, "<think> does not end"),
        ("<think>a</think>4</think>5", None, "</think> ends a block that has ended"),
        ("a</think>4</think>5", None, "</think> ends a block that has ended"),
    ],
)
def test_82_what_is_no_answer(answer: str, opened: str | None, says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        without_reasoning(answer, THINK, opened)
    assert raised.value.fault == "sample"


def test_several_names() -> None:
    names = ("think", "reason")
    assert without_reasoning("<think><reason>a</think>4", names, None).answer == "4"
    assert without_reasoning("<reason>a</reason><think>b</think>4", names, None).answer == "4"
    with pytest.raises(InputError, match="<reason> does not end"):
        without_reasoning("<reason>a</think>4", names, None)
    assert without_reasoning("a</think>4", (), "think").answer == "a</think>4"


def test_the_block_that_a_prompt_opens() -> None:
    assert open_block("<|assistant|><think>\n", ("reason", "think")) == "think"
    assert open_block("<|assistant|><think>\n\n</think>\n", THINK) is None
    assert open_block("<|assistant|>", THINK) is None
