"""Conversations from what a policy wrote: the policy's words, or an error of the sample."""

from __future__ import annotations

from typing import Any

import pytest

from reward_client import Conversation, InputError, TokenizerMismatchError
from reward_client._integrations.policy_text import PolicyText, Rollout

from ..tokenization.test_retokenizer import CHAT, FAMILIES, by_bytes, chat, rendered, tokenizer

THINK = ("think",)
# As DeepSeek-R1: the block is opened for an answer, and not written in a conversation.
DROPPING = """\
{%- for message in messages %}
    {{- '<|' + message['role'] + '|>' + message['content'].split('</think>')[-1] }}
    {%- if message['role'] == 'assistant' %}
        {{- eos_token }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|><think>\\n' }}
{%- endif %}
"""
# As Qwen3-Thinking: a conversation has an empty block in the place of the open one.
FILLING = """\
{%- for message in messages %}
    {{- '<|' + message['role'] + '|>' }}
    {%- if message['role'] == 'assistant' and loop.last %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
    {{- message['content'].split('</think>')[-1].lstrip('\\n') + eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|assistant|><think>\\n' }}
{%- endif %}
"""


def thinking(template: str) -> Any:
    special = ("<|user|>", "<|assistant|>")
    return by_bytes(template, *special, eos_token="<|end|>", pad_token="<|pad|>")


def messages_of(rollout: Rollout) -> list[Any]:
    assert isinstance(rollout.sample, Conversation), rollout.sample
    return [*rollout.sample.messages]


def error_of(rollout: Rollout) -> InputError:
    assert isinstance(rollout.sample, InputError)
    assert rollout.sample.fault == "sample"
    return rollout.sample


def prompt_of(family: str, messages: Any = CHAT[:1]) -> str:
    return rendered(family, messages, add_generation_prompt=True)


# Without the policy's tokenizer


def test_texts_and_messages() -> None:
    texts = PolicyText(None)
    both = texts.answered(["hello .", CHAT[:1]], ["4", CHAT[1:]])
    assert [messages_of(each) for each in both] == [CHAT, CHAT]
    (rollout,) = texts.conversations([chat("hello .", "4", "and", "5")])
    assert messages_of(rollout) == chat("hello .", "4", "and", "5")


@pytest.mark.parametrize("end", ["<|im_end|>", "<|eot_id|>", "</s>", "<|endoftext|>\n<pad><pad>"])
def test_end_tokens_of_any_policy_are_no_part_of_an_answer(end: str) -> None:
    ended = [{"role": "assistant", "content": f"4{end}"}]
    for texts in (PolicyText(None), PolicyText(tokenizer("chatml"))):
        rollouts = texts.answered([CHAT[:1]] * 2, [f"4{end}", ended])
        assert [messages_of(each) for each in rollouts] == [CHAT] * 2
    for rollout in PolicyText(None, keeps_ends=True).answered([CHAT[:1]] * 2, [f"4{end}", ended]):
        assert messages_of(rollout)[-1]["content"] == f"4{end}"


@pytest.mark.parametrize("family", ["chatml", "headers", "brackets"])
def test_82_a_prompt_in_a_template_is_not_taken_for_the_users_words(family: str) -> None:
    (rollout,) = PolicyText(None).answered([prompt_of(family)], ["4"])
    assert "Give policy_tokenizer=" in str(error_of(rollout))


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (None, "4"),
        (4, "4"),
        ([], "4"),
        *((CHAT[:1], answer) for answer in (None, 4, b"4", float("nan"), [], [4], CHAT[1])),
    ],
)
def test_what_is_neither_text_nor_messages(prompt: object, answer: object) -> None:
    (rollout, good) = PolicyText(None).answered([prompt, CHAT[:1]], [answer, "4"])
    assert messages_of(good) == CHAT
    error_of(rollout)


def test_82_a_conversation_without_an_answer() -> None:
    (rollout,) = PolicyText(None).conversations([CHAT[:1]])
    assert "There is no answer after the prompt" in str(error_of(rollout))


def test_reasoning_of_messages() -> None:
    parsed = [{**CHAT[1], "reasoning_content": "2 and 2"}]
    called = {"role": "assistant", "content": "<think>a</think>", "tool_calls": []}
    tools = [called, {"role": "tool", "content": "<think>"}, CHAT[1]]
    rollouts = PolicyText(None, THINK).answered(
        [CHAT[:1]] * 4, ["<think>2 and 2</think>\n\n4", parsed, CHAT[1:], tools]
    )
    assert [messages_of(each) for each in rollouts[:3]] == [CHAT] * 3
    assert [each.stripped for each in rollouts] == [24 - 2, 7, 0, 16]
    assert [each["content"] for each in messages_of(rollouts[3])[1:]] == ["", "<think>", "4"]


def test_a_batch_whose_template_opens_the_block() -> None:
    answers = ["2 and 2</think>\n\n4", "2 and", "<think>2</think>4"]
    closed, cut, whole = PolicyText(None, THINK).answered([CHAT[:1]] * 3, answers)
    assert messages_of(closed) == messages_of(whole) == CHAT
    assert "<think> does not end" in str(error_of(cut))
    # Without any sign of it, the answers have no reasoning.
    (plain,) = PolicyText(None, THINK).answered([CHAT[:1]], ["2 and"])
    assert plain.stripped == 0


# With the policy's tokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_in_the_policys_template(family: str) -> None:
    texts = PolicyText(tokenizer(family))
    end = rendered(family, CHAT).rpartition("4")[2]
    pad = tokenizer(family).pad_token
    prompt = prompt_of(family)
    answers = ["4", f"4{end}", f"4{end.strip()}", f"4{end}{pad}{pad}"]
    for rollout in texts.answered([prompt] * 4, answers):
        assert messages_of(rollout) == CHAT
    for rollout in texts.whole([prompt + answer for answer in answers], [prompt] * 4):
        assert messages_of(rollout) == CHAT
    (rollout,) = texts.answered([CHAT[:1]], ["4"])
    assert messages_of(rollout) == CHAT
    own = tokenizer(family)
    ids = own.encode(rendered(family, CHAT), add_special_tokens=False)
    decoded = own.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    (rollout,) = texts.whole([decoded], [prompt])
    assert messages_of(rollout) == CHAT


@pytest.mark.parametrize("family", ["chatml", "headers", "turns"])
def test_82_turns_that_the_policy_invents_are_no_turns(family: str) -> None:
    invented = rendered(family, chat("hello .", "4", "and", "5"))
    prompt = prompt_of(family)
    texts = PolicyText(tokenizer(family))
    for rollout in (
        *texts.answered([prompt], [invented.removeprefix(prompt)]),
        *texts.whole([invented], [prompt]),
    ):
        assert "turns" in str(error_of(rollout)) or "breaks" in str(error_of(rollout))


def test_a_prompt_that_was_cut() -> None:
    prompt = prompt_of("chatml")
    texts = PolicyText(tokenizer("chatml"))
    cut, good = texts.whole([f"{prompt[9:]}4", f"{prompt}4"], [prompt] * 2)
    assert "does not begin with its prompt" in str(error_of(cut))
    assert messages_of(good) == CHAT


def test_the_wrong_tokenizer_is_wrong_for_all() -> None:
    texts = PolicyText(tokenizer("chatml"))
    with pytest.raises(TokenizerMismatchError) as raised:
        texts.answered([prompt_of("headers")], ["4"])
    assert raised.value.fault == "server"
    with pytest.raises(TokenizerMismatchError, match="add_generation_prompt=True"):
        texts.answered([prompt_of("chatml") + "I say "], ["4"])
    good, bad = texts.answered([prompt_of("chatml"), prompt_of("headers")], ["4"] * 2)
    assert messages_of(good) == CHAT
    assert "Cannot read the prompt" in str(error_of(bad))


@pytest.mark.parametrize("template", [DROPPING, FILLING])
def test_a_template_that_opens_the_block_of_reasoning(template: str) -> None:
    own = thinking(template)
    prompt = own.apply_chat_template(CHAT[:1], tokenize=False, add_generation_prompt=True)
    assert prompt.endswith("<think>\n")
    texts = PolicyText(own, THINK)
    answers = ["2 and 2</think>\n\n4<|end|>", "2 and 2</think>4", "2 and 2<|end|>", "4"]
    closed, short, cut, none = texts.answered([prompt] * 4, answers)
    assert messages_of(closed) == messages_of(short) == CHAT
    assert closed.stripped == len("2 and 2</think>")
    for unanswered in (cut, none):
        assert "<think> does not end" in str(error_of(unanswered))
    # The same for messages, of which nothing but the template says so.
    closed, cut = texts.answered([CHAT[:1]] * 2, [CHAT[1:], "2 and 2</think>\n\n4"])
    assert "<think> does not end" in str(error_of(closed))
    assert messages_of(cut) == CHAT


def test_a_block_that_nobody_strips() -> None:
    own = thinking(DROPPING)
    prompt = own.apply_chat_template(CHAT[:1], tokenize=False, add_generation_prompt=True)
    with pytest.raises(TokenizerMismatchError, match='Give strip_reasoning="think"'):
        PolicyText(own).answered([prompt], ["2 and 2</think>4"])


def test_a_block_that_the_template_closes() -> None:
    opened = r"<|assistant|><think>\n"
    closing = FILLING.replace(opened, rf"{opened}\n</think>\n\n")
    own = thinking(closing)
    prompt = own.apply_chat_template(CHAT[:1], tokenize=False, add_generation_prompt=True)
    assert prompt.endswith("</think>\n\n")
    (rollout,) = PolicyText(own, THINK).answered([prompt], ["4<|end|>"])
    assert messages_of(rollout) == CHAT


def test_no_tokenizer() -> None:
    with pytest.raises(InputError, match="Retokenizer takes a folder"):
        PolicyText(4)
