"""What a model needs of its prompts: steps in their places, one BOS or none, tokens at the end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_client import Conversation, FormattedText, InputError
from reward_client._base.samples import Prompt, parse_sample
from reward_client._base.token_ids import TokenIds
from reward_client._tokenization import PromptRules, StepToken

STEP = StepToken(5, "<extra_0>")
STEPS = PromptRules(step=STEP)
SPLIT = PromptRules(step=STEP, separator="\n\n")
BOS = 1

QUESTION = {"role": "user", "content": "2+2?"}


def answer(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def with_steps(rules: PromptRules, *messages: Any, **options: Any) -> list[Any]:
    prompt = rules.with_steps(Conversation(messages, **options))
    assert isinstance(prompt, Conversation)
    assert prompt.steps is None
    return list(prompt.messages)


# Steps and their tokens


CALL = {"type": "function", "function": {"name": "add", "arguments": "{}"}}


@pytest.mark.parametrize("rules", [STEPS, SPLIT])
def test_given_steps_become_the_answer(rules: PromptRules) -> None:
    messages = with_steps(rules, QUESTION, steps=["Two and two", "\n\nmake 4."])
    assert messages == [QUESTION, answer("Two and two<extra_0>\n\nmake 4.<extra_0>")]


def test_the_last_turn_is_split() -> None:
    earlier = answer("Hello.\n\nHow are you?")
    last = answer("\n\nTwo and two\n\nmake 4.\n\n \n\n")
    messages = with_steps(SPLIT, QUESTION, earlier, QUESTION, last)
    assert messages == [
        *(QUESTION, earlier, QUESTION),
        answer("Two and two<extra_0>make 4.<extra_0>"),
    ]


def test_the_rest_of_the_last_turn_stays() -> None:
    """A template may write it; without it, another prompt would be scored."""
    last = answer("One\n\ntwo", reasoning_content="Hm.", name="judge")
    messages = with_steps(SPLIT, QUESTION, last)
    assert messages[1] == {**last, "content": "One<extra_0>two<extra_0>"}


def test_the_rest_of_the_conversation_stays() -> None:
    tools = [{"type": "function"}]
    given_prompt = Conversation([QUESTION], tools, {"enable_thinking": False}, steps=("One", "two"))
    prompt = STEPS.with_steps(given_prompt)
    assert isinstance(prompt, Conversation)
    assert (prompt.tools, prompt.chat_template_kwargs) == (tools, {"enable_thinking": False})
    assert list(given_prompt.steps or ()) == ["One", "two"]
    assert list(given_prompt.messages) == [QUESTION]


def test_step_tokens_that_the_caller_wrote_stay_where_they_are() -> None:
    for content in (
        "One<extra_0>two<extra_0>",
        [{"type": "text", "text": "One<extra_0>"}, {"type": "text", "text": "two<extra_0>"}],
    ):
        messages = with_steps(STEPS, QUESTION, answer(content))
        assert messages == [QUESTION, answer(content)]
        assert STEPS.step_count(Conversation(messages)) == 2


ONE_STEP = st.text(min_size=1).filter(lambda text: text.strip() and "\n\n" not in text)


@given(st.lists(ONE_STEP, min_size=1))
def test_steps_split_as_they_were_joined(steps: list[str]) -> None:
    split = with_steps(SPLIT, QUESTION, answer("\n\n".join(steps)))
    # A line break at a step's edge makes the separator ambiguous; the steps' text is kept.
    if not any(step[0] == "\n" or step[-1] == "\n" for step in steps):
        assert split == with_steps(STEPS, QUESTION, steps=steps)
    assert STEPS.step_count(Conversation(split)) == split[1]["content"].count("<extra_0>") > 0


MARKED = "What is <extra_0>?"


@pytest.mark.parametrize(
    ("messages", "steps", "hint"),
    [
        ([{"role": "user", "content": MARKED}], ["4"], "Message 0 holds the step token"),
        ([{"role": "system", "content": MARKED}, QUESTION], ["4"], "Message 0 holds"),
        ([QUESTION, answer("4<extra_0>"), QUESTION], ["4"], "Message 1 holds"),
        ([{"role": "user", "content": MARKED}, answer("4<extra_0>")], None, "Message 0 holds"),
        (
            [{"role": "user", "content": [{"type": "text", "text": MARKED}]}, answer("<extra_0>")],
            None,
            "Message 0 holds",
        ),
        ([QUESTION], ["4", "<extra_0>"], "Step 1 holds the step token"),
        ([QUESTION], ["4<extra_0>"], "Step 0 holds the step token"),
        ([QUESTION, answer("4")], None, "The last turn has no step token"),
        ([QUESTION, answer(None, tool_calls=[CALL])], None, "The last turn has no step token"),
        ([QUESTION, answer("4<extra_0>"), QUESTION], None, "Message 1 holds"),
    ],
)
def test_step_tokens_where_none_belong(messages: Any, steps: Any, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        STEPS.with_steps(Conversation(messages, steps=steps))


@pytest.mark.parametrize(
    ("messages", "hint"),
    [
        ([QUESTION], "must be text of the assistant"),
        ([QUESTION, answer(None, tool_calls=[CALL])], "must be text of the assistant"),
        ([QUESTION, answer([{"type": "text", "text": "4"}])], "must be text of the assistant"),
        ([QUESTION, answer("")], "Cannot score steps"),
        ([QUESTION, answer("\n\n \n\n")], "Cannot score steps"),
        ([QUESTION, answer("One\n\ntwo<extra_0>")], "Step 1 holds the step token"),
        ([{"role": "user", "content": MARKED}, answer("4")], "Message 0 holds"),
    ],
)
def test_what_cannot_be_split(messages: Any, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        SPLIT.with_steps(Conversation(messages))


def test_a_model_without_steps() -> None:
    plain = Conversation([QUESTION, answer("4<extra_0>")])
    assert PromptRules().with_steps(plain) is plain
    with pytest.raises(InputError, match="no StepHead"):
        PromptRules().with_steps(Conversation([QUESTION], steps=["4"]))


def test_texts_and_token_ids_are_the_callers_own() -> None:
    for prompt in (FormattedText("4\n\n<extra_0>"), (1, 2, 5)):
        assert SPLIT.with_steps(prompt) is prompt


# What comes of it as token IDs

ANSWERED = Conversation([QUESTION, answer("One<extra_0>two<extra_0>")])


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        (ANSWERED, (1, 9, 5, 9, 5, 2)),
        (FormattedText("x<extra_0>"), (9, 5)),
        (TokenIds.of((9, 5, 5)), (9, 5, 5)),
        (TokenIds.of((5,)), (5,)),
    ],
)
def test_as_many_step_tokens_as_the_text_has(prompt: Prompt, ids: tuple[int, ...]) -> None:
    assert STEPS.finished(TokenIds.of(ids), prompt) == ids
    assert STEPS.step_places(ids) == tuple(i for i, token in enumerate(ids) if token == 5)


@pytest.mark.parametrize(
    ("prompt", "ids", "hint"),
    [
        (ANSWERED, (1, 9, 5, 9, 8, 7), "does not keep it whole"),
        (
            ANSWERED,
            (1, 9, 5, 9, 5, 5),
            "2 step tokens '<extra_0>', but its token IDs hold 3 of ID 5",
        ),
        (ANSWERED, (1, 9), "does not keep it whole"),
        (FormattedText("x<extra_0>"), (9, 5, 5), "does not keep it whole"),
        (FormattedText("x"), (9, 5), "does not keep it whole"),
        (FormattedText("x"), (9,), "no step token"),
        (TokenIds.of((1, 2, 3)), (1, 2, 3), "no step token"),
    ],
)
def test_another_number_of_step_tokens(prompt: Prompt, ids: tuple[int, ...], hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        STEPS.finished(TokenIds.of(ids), prompt)


def test_no_steps_are_counted_for_models_without() -> None:
    assert PromptRules().finished(TokenIds.of((5, 5)), FormattedText("<extra_0>")) == (5, 5)
    assert PromptRules().step_places((5, 5)) == ()


# BOS

CONVERSATION, TEXT, IDS = Conversation([QUESTION]), FormattedText("2+2?"), TokenIds.of((9,))


@pytest.mark.parametrize("prompt", [CONVERSATION, TEXT, IDS], ids=["messages", "text", "ids"])
@pytest.mark.parametrize(
    ("bos", "given_ids"),
    [
        (None, (9,)),
        (None, (BOS, 9)),
        (None, (BOS, BOS, 9)),
        (True, (BOS, 9)),
        (True, (BOS, 9, BOS, BOS)),
        (True, (BOS,)),
        (False, (9,)),
        (False, (9, BOS)),
    ],
)
def test_a_bos_as_it_should_be(
    bos: bool | None, given_ids: tuple[int, ...], prompt: Prompt
) -> None:
    assert (
        PromptRules(bos=bos, bos_token_id=BOS).finished(TokenIds.of(given_ids), prompt) == given_ids
    )


def test_a_missing_bos_is_added_to_conversations_only() -> None:
    """A template may have none on purpose; who wrote the text or the IDs wrote all of it."""
    rules = PromptRules(bos=True, bos_token_id=BOS)
    assert rules.finished(TokenIds.of((9, BOS)), CONVERSATION) == (BOS, 9, BOS)
    for prompt in (TEXT, IDS):
        with pytest.raises(InputError, match="starts with 0 BOS tokens, but exactly one"):
            rules.finished(TokenIds.of((9, BOS)), prompt)


@pytest.mark.parametrize("prompt", [CONVERSATION, TEXT, IDS], ids=["messages", "text", "ids"])
@pytest.mark.parametrize(
    ("bos", "given_ids", "hint"),
    [
        (True, (BOS, BOS, 9), "starts with 2 BOS tokens, but exactly one"),
        (True, (BOS, BOS, BOS), "starts with 3 BOS tokens, but exactly one"),
        (False, (BOS, 9), "starts with 1 BOS tokens, but no BOS"),
        (False, (BOS, BOS, 9), "starts with 2 BOS tokens, but no BOS"),
    ],
)
def test_a_wrong_bos_is_refused(
    bos: bool, given_ids: tuple[int, ...], hint: str, prompt: Prompt
) -> None:
    with pytest.raises(InputError, match=hint):
        PromptRules(bos=bos, bos_token_id=BOS).finished(TokenIds.of(given_ids), prompt)


def test_a_tokenizer_without_a_bos() -> None:
    for bos in (None, False):
        assert PromptRules(bos=bos).finished(TokenIds.of((1, 1, 9)), CONVERSATION) == (1, 1, 9)
    with pytest.raises(InputError, match="tokenizer has none"):
        PromptRules(bos=True).finished(TokenIds.of((1, 9)), CONVERSATION)


@given(st.lists(st.integers(0, 3), min_size=1))
def test_the_bos_are_counted_at_the_start(ids: list[int]) -> None:
    count = PromptRules(bos_token_id=BOS).bos_count(TokenIds.of(ids))
    assert ids[:count] == [BOS] * count
    assert ids[count : count + 1] != [BOS]
    assert PromptRules().bos_count(TokenIds.of(ids)) == 0


# Tokens at the end


@pytest.mark.parametrize(
    "prompt", [CONVERSATION, TEXT, TokenIds.of((1, 2))], ids=["messages", "text", "ids"]
)
@pytest.mark.parametrize(
    ("append", "given_ids", "finished"),
    [
        ((7,), (1, 2), (1, 2, 7)),
        ((7,), (1, 7), (1, 7)),
        ((7,), (7, 1), (7, 1, 7)),
        ((7, 8), (1, 2), (1, 2, 7, 8)),
        ((7, 8), (1, 7, 8), (1, 7, 8)),
        ((7, 8), (1, 7), (1, 7, 7, 8)),
        ((7, 8), (8,), (8, 7, 8)),
        ((), (1, 2), (1, 2)),
    ],
)
def test_tokens_are_appended_once(
    append: tuple[int, ...],
    given_ids: tuple[int, ...],
    finished: tuple[int, ...],
    prompt: Prompt,
) -> None:
    rules = PromptRules(append=append)
    assert rules.finished(TokenIds.of(given_ids), prompt) == finished
    assert rules.finished(TokenIds.of(finished), prompt) == finished


def test_all_of_it_together() -> None:
    rules = PromptRules(bos=True, bos_token_id=BOS, append=(7,), step=STEP, separator="\n\n")
    prompt = rules.with_steps(parse_sample([QUESTION, answer("One\n\ntwo")]))
    finished = rules.finished(TokenIds.of((9, 5, 9, 5, 2)), prompt)
    assert finished == (BOS, 9, 5, 9, 5, 2, 7)
    assert rules.step_places(finished) == (2, 4)
    assert rules.bos_count(finished) == 1
