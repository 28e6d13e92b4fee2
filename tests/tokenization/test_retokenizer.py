"""Token IDs of a policy as messages again: the ones that they were made of, or an error."""

from __future__ import annotations

import pickle
import sys
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

import reward_client.testing
from reward_client import Conversation, InputError, Retokenizer, TokenizerMismatchError
from reward_client.testing import RewardServer

from ..support.either import OPENERS, Kind

MODEL = Path(reward_client.testing.__file__).parent / "_model" / "checkpoint"

# Templates in the manner of well-known families, and the tokens that each of them has.

CHATML = """\
{%- if messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\nYou are a policy.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
HEADERS = """\
{{- bos_token }}
{%- for message in messages %}
    {{- '<|header|>' + message['role'] + '<|/header|>\\n\\n' + message['content'] | trim }}
    {{- '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|header|>assistant<|/header|>\\n\\n' }}
{%- endif %}
"""
BRACKETS = """\
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] + '\\n\\n' %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = '' %}
{%- endif %}
{{- bos_token }}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('The roles must alternate.') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {{- '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}
    {%- else %}
        {{- ' ' + message['content'] + eos_token }}
    {%- endif %}
{%- endfor %}
"""
TURNS = """\
{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {{- raise_exception('There is no system role.') }}
{%- endif %}
{%- for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('The roles must alternate.') }}
    {%- endif %}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
    {{- '<turn>' + role + '\\n' + message['content'] | trim + '</turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<turn>model\\n' }}
{%- endif %}
"""
# The reasoning of the last turn alone is written, and empty where there is none.
THINKING = """\
{%- for message in messages %}
    {%- set parts = message['content'].split('</think>') %}
    {{- '<|im_start|>' + message['role'] + '\\n' }}
    {%- if message['role'] == 'assistant' and loop.last %}
        {%- set thought = parts[0].split('<think>')[-1] if parts | length > 1 else '' %}
        {{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' }}
    {%- endif %}
    {{- parts[-1].lstrip('\\n') + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
# The answer begins inside the reasoning, which the template never writes.
FORGETTING = """\
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
# No special token tells its turns apart.
PLAIN = """\
{%- for message in messages %}
    {{- '### ' + message['role'] + ':\\n' + message['content'] + '\\n\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '### assistant:\\n' }}
{%- endif %}
"""

# An EOS follows the end of the last turn, and nothing asks for an answer.
ENDING = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{{- eos_token }}
"""
# Nothing but white space is written between a system text and the user's.
LEADING = """\
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {{- 'Rules: ' + message['content'] + '\\n\\n' }}
    {%- elif message['role'] == 'user' %}
        {{- message['content'] + '<|im_start|>' }}
    {%- else %}
        {{- message['content'] + '<|im_end|>' }}
    {%- endif %}
{%- endfor %}
"""
# There may be a system text, and it is not written.
IGNORING = """\
{%- for message in messages %}
    {%- if message['role'] == 'user' %}
        {{- '<|im_start|>' + message['content'] | trim }}
    {%- elif message['role'] == 'assistant' %}
        {{- '<|im_end|>' + message['content'] + eos_token }}
    {%- endif %}
{%- endfor %}
"""


def by_bytes(template: str, *special: str, **named: Any) -> Any:
    """A tokenizer of bytes, a few pairs of them, and special tokens."""
    from transformers import PreTrainedTokenizerFast

    pairs = [("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o"), ("Ġ", "."), ("Ã", "©")]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = dict.fromkeys([*letters, *("".join(pair) for pair in pairs)])
    vocabulary = {word: number for number, word in enumerate(words)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        additional_special_tokens=list(special),
        chat_template=template,
        **named,
    )


def by_words(template: str) -> Any:
    """A tokenizer that begins words with ▁: so it puts a space after each special token."""
    from transformers import PreTrainedTokenizerFast

    pairs = [("▁", "a"), ("▁a", "b")]
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    words += [chr(code) for code in range(33, 127)] + ["".join(pair) for pair in pairs]
    backend = Tokenizer(
        models.BPE(
            vocab={word: number for number, word in enumerate(words)},
            merges=pairs,
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>",
        chat_template=template,
    )


IM = ("<|im_start|>", "<|im_end|>")
MAKERS: dict[str, Any] = {
    "chatml": lambda: by_bytes(CHATML, *IM, eos_token="<|im_end|>", pad_token="<|endoftext|>"),
    "headers": lambda: by_bytes(
        HEADERS,
        "<|header|>",
        "<|/header|>",
        "<|eot|>",
        bos_token="<|begin|>",
        eos_token="<|eot|>",
        pad_token="<|pad|>",
        # As the files of some Llamas ask for.
        clean_up_tokenization_spaces=True,
        clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output=True,
    ),
    "brackets": lambda: by_words(BRACKETS),
    "turns": lambda: by_bytes(
        TURNS, "<turn>", "</turn>", bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    ),
    "thinking": lambda: by_bytes(THINKING, *IM, eos_token="<|im_end|>", pad_token="<|endoftext|>"),
    "forgetting": lambda: by_bytes(
        FORGETTING, "<|user|>", "<|assistant|>", eos_token="<|end|>", pad_token="<|end|>"
    ),
    "ending": lambda: by_bytes(ENDING, *IM, eos_token="<|endoftext|>", pad_token="<|endoftext|>"),
    "leading": lambda: by_bytes(LEADING, *IM, eos_token="<|im_end|>", pad_token="<|endoftext|>"),
    "ignoring": lambda: by_bytes(IGNORING, *IM, eos_token="<|end|>", pad_token="<|end|>"),
    "plain": lambda: by_bytes(PLAIN, eos_token="<|endoftext|>", pad_token="<|endoftext|>"),
}
FAMILIES = ("chatml", "headers", "brackets", "turns")
WITH_SYSTEM = ("chatml", "headers")
TRIMMING = ("headers", "turns")


@cache
def tokenizer(family: str) -> Any:
    return MAKERS[family]()


@cache
def retokenizer(family: str) -> Retokenizer:
    return Retokenizer(tokenizer(family))


def rendered(family: str, messages: Any, **options: Any) -> str:
    text: str = tokenizer(family).apply_chat_template(messages, tokenize=False, **options)
    return text


def text_ids(family: str, text: str, **options: Any) -> list[int]:
    ids: list[int] = tokenizer(family).encode(text, add_special_tokens=False, **options)
    return ids


def ids_of(family: str, messages: Any) -> list[int]:
    return text_ids(family, rendered(family, messages))


def token(family: str, text: str) -> int:
    (one,) = tokenizer(family).convert_tokens_to_ids([text])
    assert isinstance(one, int)
    return one


def messages_of(family: str, ids: Any, **options: Any) -> list[Any]:
    return list(retokenizer(family).conversation(ids, **options).messages)


def chat(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    first = [{"role": "system", "content": system}] if system is not None else []
    roles = ("user", "assistant") * len(contents)
    return [*first, *({"role": r, "content": c} for r, c in zip(roles, contents, strict=False))]


CHAT = chat("hello .", "4")

# Back to the messages

# ▁ is a space to a tokenizer by words; U+FFFD is not told from broken bytes.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁\ufffd"), max_size=30)


def drawn(data: st.DataObject, family: str) -> list[dict[str, str]]:
    text = TEXT.map(str.strip) if family in TRIMMING else TEXT
    contents = [text, text] * data.draw(st.integers(1, 3))
    system = text if family in WITH_SYSTEM and data.draw(st.booleans()) else st.none()
    return chat(*map(data.draw, contents), system=data.draw(system))


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_the_messages_that_the_ids_were_made_of(family: str, data: st.DataObject) -> None:
    messages = drawn(data, family)
    assert messages_of(family, ids_of(family, messages)) == messages


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_the_response_after_a_known_prompt(family: str, data: st.DataObject) -> None:
    messages = drawn(data, family)
    *prompt, response = messages
    opened = rendered(family, prompt, add_generation_prompt=True)
    ids = text_ids(family, rendered(family, messages))
    ids = ids[len(text_ids(family, opened)) :]
    assert messages_of(family, ids, prompt=prompt) == [*prompt, response]


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
def test_the_messages_behind_a_text(family: str, data: st.DataObject) -> None:
    """The text is what the template wrote, or what the tokenizer decodes."""
    messages = drawn(data, family)
    text = rendered(family, messages)
    decoded = tokenizer(family).decode(
        text_ids(family, text), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    for given_text in (text, decoded):
        assert messages_of(family, given_text) == messages
    *prompt, response = messages
    after = text.removeprefix(rendered(family, prompt, add_generation_prompt=True))
    if family != "brackets":  # of which the tokenizer takes a space at the start for its own
        assert messages_of(family, after, prompt=prompt) == [*prompt, response]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_ends_of_a_text(family: str) -> None:
    own = tokenizer(family)
    text = rendered(family, CHAT)
    bos, eos, pad = own.bos_token or "", own.eos_token, own.pad_token
    bare = text.removeprefix(bos)
    cut = text.partition("4")[0] + "4"
    for rollout in (
        text,
        cut,
        text.rstrip(),
        cut + eos,
        text + eos,
        text + eos + eos,
        text + eos + pad + pad,
        text + pad,
        cut + pad * 3,
        pad * 2 + text,
        bare,
        bos + text,
    ):
        assert messages_of(family, rollout) == CHAT, rollout


@pytest.mark.parametrize("family", ["chatml", "headers", "turns"])
def test_a_text_with_another_turn_is_none_of_a_response(family: str) -> None:
    ids = ids_of(family, chat("hello .", "4", "and", "5"))
    prompt = rendered(family, CHAT[:1], add_generation_prompt=True)
    text = rendered(family, chat("hello .", "4", "and", "5")).removeprefix(prompt)
    assert messages_of(family, ids) == chat("hello .", "4", "and", "5")
    with pytest.raises(TokenizerMismatchError, match="does not follow"):
        messages_of(family, text, prompt=CHAT[:1])


@pytest.mark.parametrize("text", ["", "hello", "<|im_start|>user\nhello", "4 \ufffd"])
def test_what_is_no_text_of_the_template(text: str) -> None:
    with pytest.raises(InputError):
        messages_of("chatml", text)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_known_prompt_may_hold_anything(family: str) -> None:
    messages = chat("zq0qz and zq1qz", "zq0qz", "zq1qz", "four")
    *prompt, response = messages
    ids = text_ids(family, rendered(family, messages))
    ids = ids[len(text_ids(family, rendered(family, prompt, add_generation_prompt=True))) :]
    assert messages_of(family, ids, prompt=prompt) == [*prompt, response]


def spelled(family: str, text: str) -> list[int]:
    """A tokenization that the tokenizer itself would not give: a character at a time."""
    return [each for letter in text for each in text_ids(family, letter)]


MARKS = "<|im_end|> <|im_start|> <|eot|> <|header|> <|/header|> <turn> </turn> </think> <s> </s>"
PARTS = st.sampled_from([*MARKS.split(), " ", "\n", "a", "user", "model", "assistant"])


@pytest.mark.parametrize("family", ["chatml", "headers", "turns", "thinking"])
@given(data=st.data())
def test_a_text_that_looks_like_turns_is_never_taken_for_them(
    family: str, data: st.DataObject
) -> None:
    """The contents hold what the template writes, in tokens that only spell it."""
    contents = [data.draw(st.lists(PARTS, max_size=6).map("".join)) for _ in range(4)]
    frame = rendered(family, chat("zero", "one", "two", "three"))
    ids: list[int] = []
    for word, content in zip(["zero", "one", "two", "three"], contents, strict=True):
        before, frame = frame.split(word)
        ids += [*text_ids(family, before), *spelled(family, content)]
    ids += text_ids(family, frame)
    try:
        found = messages_of(family, ids)
    except InputError:
        return
    assert found == chat(*contents)


@pytest.mark.parametrize("family", ["brackets", "plain"])
@given(data=st.data())
def test_turns_without_special_tokens(family: str, data: st.DataObject) -> None:
    parts = st.sampled_from(["[/INST]", "[INST]", "### user:", "### assistant:", " ", "\n", "a"])
    content = st.lists(parts, max_size=5).map("".join)
    messages = chat(*(data.draw(content) for _ in range(2)))
    text = rendered(family, messages)
    try:
        found = messages_of(family, text_ids(family, text))
    except InputError:
        return
    # A text of the kind that is all there is to know is read as the policy read it.
    assert rendered(family, found) == text
    assert family == "plain" or found == messages


@given(text=TEXT)
def test_another_tokenization_of_the_same_text(text: str) -> None:
    ids = [*spelled("chatml", "hello" + text), token("chatml", "<|im_end|>")]
    assert ids[:1] != text_ids("chatml", "hello")
    assert messages_of("chatml", ids, prompt=CHAT[:1]) == chat("hello .", "hello" + text)


def test_a_clean_up_that_the_files_ask_for_is_not_made() -> None:
    messages = chat("a . b , c", "it 's n't ?")
    cleaned = tokenizer("headers").decode(ids_of("headers", messages))
    assert "a. b, c" in cleaned
    assert messages_of("headers", ids_of("headers", messages)) == messages


def test_a_system_turn_of_the_template_is_no_message() -> None:
    assert "You are a policy." in rendered("chatml", CHAT)
    assert messages_of("chatml", ids_of("chatml", CHAT)) == CHAT
    named = chat("hello .", "4", system="You are a policy.")
    assert messages_of("chatml", ids_of("chatml", named)) == CHAT
    empty = chat("hello .", "4", system="")
    assert messages_of("chatml", ids_of("chatml", empty)) == empty


def test_a_system_text_inside_the_users_turn_stays_there() -> None:
    ids = ids_of("brackets", chat("hello .", "4", system="Judge."))
    assert messages_of("brackets", ids) == chat("Judge.\n\nhello .", "4")
    known = chat("hello .", system="Judge.")
    assert messages_of("brackets", text_ids("brackets", "4"), prompt=known) == [*known, CHAT[1]]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_ends_of_a_rollout(family: str) -> None:
    own = tokenizer(family)
    ids = ids_of(family, CHAT)
    eos, pad = own.eos_token_id, own.pad_token_id
    bos = [] if own.bos_token_id is None else [own.bos_token_id]
    bare = ids[len(bos) :]
    end = len(ids) - next(place for place, each in enumerate(reversed(ids)) if each == ids[-1])
    cut = text_ids(family, rendered(family, CHAT).partition("4")[0] + "4")
    for rollout in (
        ids,
        cut,
        ids[:end],
        [*cut, eos],
        [*ids, eos],
        [*ids, eos, eos],
        [*ids, eos, pad, pad],
        [*ids, pad, pad],
        [*cut, pad, pad, pad],
        [pad, pad, *ids],
        [pad, *ids, pad],
        bare,
        [*bos, *ids],
        [pad, *bos, *ids, eos, pad],
    ):
        assert messages_of(family, rollout) == CHAT, rollout


def test_the_end_of_a_turn_without_the_line_break_after_it() -> None:
    assert messages_of("turns", ids_of("turns", CHAT)[:-1]) == CHAT
    assert messages_of("turns", [*ids_of("turns", CHAT)[:-1], token("turns", "<eos>")]) == CHAT


def test_an_eos_that_the_template_writes_after_the_end() -> None:
    assert rendered("ending", CHAT).endswith("4<|im_end|>\n<|endoftext|>")
    ids = ids_of("ending", CHAT)
    for rollout in (ids, [*ids, ids[-1]], ids[:-1], ids[:-2], [*ids[:-2], ids[-1]], ids[:-3]):
        assert messages_of("ending", rollout) == CHAT, rollout
    assert messages_of("ending", ids_of("ending", CHAT * 2)) == CHAT * 2


def test_a_space_at_the_end_of_a_response_is_the_policys() -> None:
    opened = rendered("brackets", CHAT[:1])
    template = BRACKETS.replace("' ' + message['content'] + eos", "message['content'] + ' ' + eos")
    own = by_words(template)
    made = Retokenizer(own)
    for ending, kept in (("4 </s>", "4"), ("4 ", "4 "), ("4</s>", "4")):
        ids = own.encode(opened + ending, add_special_tokens=False)
        assert made.conversation(ids) == Conversation(chat("hello .", kept))


def test_other_words_at_the_ends_are_no_padding() -> None:
    ids = ids_of("headers", CHAT)
    bos = token("headers", "<|begin|>")
    for wrong in ([bos, bos, *ids], [*ids, bos], [*ids, *text_ids("headers", "a")], ids[2:]):
        with pytest.raises(TokenizerMismatchError):
            messages_of("headers", wrong)


@pytest.mark.parametrize("family", ["chatml", "headers", "turns"])
def test_a_response_that_is_just_an_end(family: str) -> None:
    ids = text_ids(family, rendered(family, CHAT[:1], add_generation_prompt=True))
    eos = tokenizer(family).eos_token_id
    assert messages_of(family, [*ids, eos]) == chat("hello .", "")
    assert messages_of(family, [eos], prompt=CHAT[:1]) == chat("hello .", "")
    with pytest.raises(InputError, match="no response"):
        messages_of(family, ids)


def test_padding_is_no_response() -> None:
    with pytest.raises(InputError, match="no response"):
        messages_of("chatml", [token("chatml", "<|endoftext|>")] * 2, prompt=CHAT[:1])


@pytest.mark.parametrize("family", TRIMMING)
@pytest.mark.parametrize("response", ["4 \n", "\n 4", " "])
def test_a_response_that_the_template_trims_is_whole(family: str, response: str) -> None:
    opened = rendered(family, CHAT[:1], add_generation_prompt=True)
    ids = text_ids(family, opened + response)
    assert messages_of(family, ids) == chat("hello .", response)
    only = text_ids(family, response)
    assert messages_of(family, only, prompt=CHAT[:1]) == chat("hello .", response)


@pytest.mark.parametrize("family", TRIMMING)
def test_a_prompt_that_the_template_trims_is_not_of_the_template(family: str) -> None:
    text = rendered(family, CHAT).replace("hello .", "hello . ")
    with pytest.raises(TokenizerMismatchError, match="first at character"):
        messages_of(family, text_ids(family, text))
    known = chat("hello . ")
    assert messages_of(family, text_ids(family, "4"), prompt=known) == [*known, CHAT[1]]


# Models that think

THOUGHT = "<think>\nTwo and two.\n</think>\n\n4"


def test_reasoning_that_the_template_writes_again_is_kept() -> None:
    text = rendered("thinking", CHAT[:1], add_generation_prompt=True) + THOUGHT
    assert messages_of("thinking", text_ids("thinking", text)) == chat("hello .", THOUGHT)
    ids = text_ids("thinking", THOUGHT)
    assert messages_of("thinking", ids, prompt=CHAT[:1]) == chat("hello .", THOUGHT)
    later = chat("hello .", "3", "Sure?", THOUGHT)
    assert messages_of("thinking", ids_of("thinking", later)) == later


def test_text_of_the_template_before_the_answer_is_left_out() -> None:
    assert "<think>\n\n</think>\n\n4" in rendered("thinking", CHAT)
    assert messages_of("thinking", ids_of("thinking", CHAT)) == CHAT


@pytest.mark.parametrize("response", ["4", "<think>\nTwo and", "4 "])
def test_an_answer_without_the_reasoning_of_the_template(response: str) -> None:
    """A rollout that was cut while it reasoned, for one."""
    text = rendered("thinking", CHAT[:1], add_generation_prompt=True) + response
    assert messages_of("thinking", text_ids("thinking", text)) == chat("hello .", response)
    ids = text_ids("thinking", response)
    assert messages_of("thinking", ids, prompt=CHAT[:1]) == chat("hello .", response)


def test_reasoning_of_the_last_turn_alone() -> None:
    """All turns are written with some: then an answer begins otherwise than the template has it."""
    template = THINKING.replace(" and loop.last", "")
    own = by_bytes(template, *IM, eos_token="<|im_end|>")
    messages = chat("hello .", "3", "Sure?", THOUGHT)
    ids = own.encode(own.apply_chat_template(messages, tokenize=False), add_special_tokens=False)
    assert Retokenizer(own).conversation(ids) == Conversation(messages)


def test_reasoning_that_the_template_drops_is_an_error() -> None:
    opened = rendered("forgetting", CHAT[:1], add_generation_prompt=True)
    response = text_ids("forgetting", "Two and two.\n</think>4")
    with pytest.raises(TokenizerMismatchError, match="drops or rewrites content"):
        messages_of("forgetting", text_ids("forgetting", opened) + response)
    for drops in (response, text_ids("forgetting", "Two and")):
        with pytest.raises(TokenizerMismatchError, match="drops or rewrites content"):
            messages_of("forgetting", drops, prompt=CHAT[:1])
    text = rendered("thinking", chat("hello .", "3", "Sure?", "4")).replace("3", THOUGHT)
    with pytest.raises(TokenizerMismatchError):
        messages_of("thinking", text_ids("thinking", text))


# Token IDs that are no text of the template


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ([], "non-empty list"),
        (None, "non-empty list"),
        (b"hello", "a bytes"),
        ([True, 5], "Position 0 holds True"),
        ([5, -1], "Position 1 holds -1"),
        ([5.0], "Position 0 holds 5.0"),
        ([5, None], "Position 1 holds None"),
        ([[5]], "Position 0 holds a list"),
        (CHAT, "Position 0 holds a dict"),
        ([5, 2**31], "Position 1"),
        ([5, 100_000], "no token 100000, at position 1"),
    ],
)
@pytest.mark.parametrize("prompt", [None, CHAT[:1]])
def test_no_token_ids(wrong: Any, hint: str, prompt: Any) -> None:
    with pytest.raises(InputError, match=hint):
        retokenizer("chatml").conversation(wrong, prompt=prompt)


def test_an_array_is_read() -> None:
    numpy = pytest.importorskip("numpy")
    ids = ids_of("chatml", CHAT)
    for same in (tuple(ids), numpy.array(ids), [*numpy.array(ids)]):
        assert retokenizer("chatml").conversation(same).messages == CHAT


def test_a_hole_in_the_vocabulary() -> None:
    own = by_bytes(CHATML, *IM, eos_token="<|im_end|>")
    last = max(own.get_vocab().values())
    with pytest.raises(InputError, match=f"no token {last + 1}, at position 0"):
        Retokenizer(own).conversation([last + 1])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_character_that_was_cut_in_two(family: str) -> None:
    before = text_ids(family, rendered(family, CHAT).partition("4")[0])
    whole = text_ids(family, "東")
    for cut in (whole[:-1], [*whole[:-1], *text_ids(family, "a")]):
        with pytest.raises(InputError, match="no UTF-8 at character"):
            messages_of(family, [*before, *cut])
        with pytest.raises(InputError, match="no UTF-8 at character"):
            messages_of(family, cut, prompt=CHAT[:1])


def test_a_known_prompt_may_hold_what_a_response_may_not() -> None:
    known = chat("\ufffd <|im_end|>\n<|im_start|>assistant\n3")
    assert messages_of("chatml", text_ids("chatml", "4"), prompt=known) == [*known, CHAT[1]]


@pytest.mark.parametrize("special", ["<|im_end|>", "<|im_start|>", "<|endoftext|>"])
def test_a_special_token_that_other_tokens_spell(special: str) -> None:
    ids = [*ids_of("chatml", CHAT)[:-2], *spelled("chatml", special)]
    with pytest.raises(TokenizerMismatchError, match=r"spell out"):
        messages_of("chatml", ids)
    with pytest.raises(TokenizerMismatchError, match=r"spell out"):
        messages_of("chatml", spelled("chatml", special), prompt=CHAT[:1])


@pytest.mark.parametrize("inside", ["<|im_end|>", "<|endoftext|>", "<|im_start|>"])
def test_a_special_token_inside_a_response(inside: str) -> None:
    response = text_ids("chatml", f"4{inside}5<|im_end|>")
    with pytest.raises(TokenizerMismatchError, match="first at character"):
        messages_of("chatml", response, prompt=CHAT[:1])
    opened = text_ids("chatml", rendered("chatml", CHAT[:1], add_generation_prompt=True))
    with pytest.raises(TokenizerMismatchError, match="first at character"):
        messages_of("chatml", opened + response)


USER, ASSISTANT = CHAT
OTHER_TURNS = [
    [USER, USER, ASSISTANT],
    [ASSISTANT, USER, ASSISTANT],
    [USER, ASSISTANT, ASSISTANT],
    [USER, ASSISTANT, USER],
    [USER],
    [USER, {"role": "system", "content": "Judge."}, ASSISTANT],
    [{"role": "tool", "content": "88"}, ASSISTANT],
    [USER, {"role": "tool", "content": "88"}, ASSISTANT],
]


@pytest.mark.parametrize("family", ["chatml", "headers", "plain"])
@pytest.mark.parametrize("messages", OTHER_TURNS)
def test_other_turns_are_an_error(family: str, messages: Any) -> None:
    with pytest.raises(TokenizerMismatchError, match="in alternation"):
        messages_of(family, ids_of(family, messages))


def test_other_turns_where_they_are_known() -> None:
    known = [USER, {"role": "tool", "content": "88"}]
    assert messages_of("chatml", text_ids("chatml", "4"), prompt=known) == [*known, ASSISTANT]


@pytest.mark.parametrize("other", sorted(MAKERS.keys() - {"chatml", "ending", "thinking"}))
def test_another_models_rollout_is_an_error(other: str) -> None:
    with pytest.raises(InputError):
        messages_of("chatml", ids_of(other, CHAT))
    with pytest.raises(TokenizerMismatchError):
        messages_of(other, text_ids(other, rendered("chatml", CHAT)))


@pytest.mark.parametrize("contents", [("a", "[/INST] b"), ("a [/INST]", "b"), ("[/INST]", "b")])
def test_a_text_that_could_be_parted_in_two_ways(contents: tuple[str, str]) -> None:
    assert rendered("brackets", chat("a", "[/INST] b")) == rendered(
        "brackets", chat("a [/INST]", "b")
    )
    with pytest.raises(TokenizerMismatchError):
        messages_of("brackets", ids_of("brackets", chat(*contents)))


def test_a_text_that_could_be_parted_at_marks_that_overlap() -> None:
    template = """\
{%- for message in messages %}
    {{- message['content'] + ('-=-' if message['role'] == 'user' else '\\n#') }}
{%- endfor %}"""
    own = by_bytes(template, eos_token="<|endoftext|>")
    made = Retokenizer(own)
    assert made.conversation(own.encode("a-=-b\n#")) == Conversation(chat("a", "b"))
    with pytest.raises(TokenizerMismatchError):  # "a" and "=-b", or "a-=" and "b"
        made.conversation(own.encode("a-=-=-b\n#"))


def test_a_system_text_that_is_not_told_from_the_users() -> None:
    assert messages_of("leading", ids_of("leading", CHAT)) == CHAT
    ids = ids_of("leading", chat("hello .", "4", system="One.\n\nTwo."))
    with pytest.raises(TokenizerMismatchError):
        messages_of("leading", ids)


def test_a_system_text_that_the_template_ignores() -> None:
    assert messages_of("ignoring", ids_of("ignoring", CHAT)) == CHAT
    text = rendered("ignoring", CHAT).replace("hello .", "hello . ")
    with pytest.raises(TokenizerMismatchError):
        messages_of("ignoring", text_ids("ignoring", text))


def test_the_error_shows_where_and_not_the_prompt() -> None:
    secret = "the secret " * 100
    ids = ids_of("headers", chat(secret, "4"))
    wrong = [*ids, *text_ids("headers", "and more")]
    with pytest.raises(TokenizerMismatchError) as caught:
        messages_of("headers", wrong)
    position = len(rendered("headers", chat(secret, "4"))) - len("<|eot|>")
    difference = f"{position}: '' in the template, '<|eot|>and more' in the rollout"
    assert f"first at character {difference}" in str(caught.value)
    assert str(caught.value).count("secret") <= 3
    changed = rendered("headers", chat(secret, "4")).replace("<|header|>user", "<|header|>usher")
    with pytest.raises(TokenizerMismatchError) as caught:
        messages_of("headers", text_ids("headers", changed))
    position = changed.index("usher") + 2
    assert f"first at character {position}: 'er<|/header|>" in str(caught.value)
    assert "in the template, 'her<|/header|>" in str(caught.value)
    assert str(caught.value).count("secret") <= 3


def test_the_error_is_of_the_reading_that_went_furthest() -> None:
    judged = chat("hello .", "4", system="Judge.")
    ids = [*ids_of("chatml", judged), *text_ids("chatml", "and more")]
    position = len(rendered("chatml", judged)) - len("<|im_end|>\n")
    with pytest.raises(TokenizerMismatchError, match=f"first at character {position}:"):
        messages_of("chatml", ids)


def test_the_error_says_what_is_missing() -> None:
    text = rendered("chatml", CHAT).partition(" .")[0]
    position = text.index("hello")
    with pytest.raises(TokenizerMismatchError) as caught:
        messages_of("chatml", text_ids("chatml", text))
    missing = repr("<|im_end|>\n<|im_start|>assistant\n"[:24])
    difference = f"{position}: {missing} in the template, 'hello' in the rollout"
    assert f"first at character {difference}" in str(caught.value)


@pytest.mark.parametrize("prompt", [[], "2+2?", [{"content": "2+2?"}], [5]])
def test_a_prompt_that_is_no_messages(prompt: Any) -> None:
    with pytest.raises(InputError):
        messages_of("chatml", text_ids("chatml", "4"), prompt=prompt)


def test_a_prompt_that_the_template_refuses() -> None:
    four = text_ids("turns", "4")
    with pytest.raises(InputError, match="There is no system role"):
        messages_of("turns", four, prompt=chat("hello .", system="Judge."))
    with pytest.raises(InputError, match="refuses such messages"):
        messages_of("turns", four, prompt=CHAT)


# Where the tokenizer comes from


def test_a_folder_a_path_and_a_tokenizer(tmp_path: Path) -> None:
    own = tokenizer("chatml")
    own.save_pretrained(tmp_path)
    for given_tokenizer in (tmp_path, str(tmp_path), own):
        made = Retokenizer(given_tokenizer)
        assert made.conversation(ids_of("chatml", CHAT)) == Conversation(CHAT)
        twin = pickle.loads(pickle.dumps(made))
        assert twin.conversation(ids_of("chatml", CHAT)) == Conversation(CHAT)
    assert repr(Retokenizer(tmp_path)) == f"Retokenizer({str(tmp_path)!r})"
    assert repr(Retokenizer(own)) == f"Retokenizer({type(own).__name__!r})"
    assert str(tmp_path) in str(failure(Retokenizer(tmp_path)))


def failure(made: Retokenizer) -> Exception:
    with pytest.raises(TokenizerMismatchError) as caught:
        made.conversation([5])
    return caught.value


def test_trust_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    asked: list[Any] = []

    def load(source: str, *, trust_remote_code: bool) -> Any:
        asked.append((source, trust_remote_code))
        return tokenizer("chatml")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", load)
    pickle.loads(pickle.dumps(Retokenizer("a/b", trust_remote_code=True)))
    Retokenizer(tmp_path)
    assert asked == [("a/b", True), ("a/b", True), (str(tmp_path), False)]


def test_a_tokenizer_without_special_tokens() -> None:
    own = by_bytes(PLAIN)
    assert own.all_special_ids == []
    ids = own.encode(own.apply_chat_template(CHAT, tokenize=False))
    assert Retokenizer(own).conversation(ids) == Conversation(CHAT)


def test_a_space_after_each_answers_end() -> None:
    """No special token stands before the first answer's end."""
    own = by_words(BRACKETS.replace("{{- bos_token }}", ""))
    messages = chat("hello .", "3", "Sure?", "4")
    ids = own.encode(own.apply_chat_template(messages, tokenize=False), add_special_tokens=False)
    assert "</s> [INST]" in own.decode(ids)
    assert Retokenizer(own).conversation(ids) == Conversation(messages)


def test_a_special_token_that_begins_like_another() -> None:
    template = "{% for m in messages %}{{ '<t>' if m['role'] == 'user' else '<t>a' }}"
    own = by_bytes(template + "{{ m['content'] }}{% endfor %}", "<t>", "<t>a")
    ids = own.encode("<t>hello .<t>a4")
    assert Retokenizer(own).conversation(ids) == Conversation(CHAT)


def test_a_tokenizer_that_normalizes() -> None:
    """The policy's words are as it wrote them, and the prompt as it read it."""
    own = by_bytes(CHATML, *IM, eos_token="<|im_end|>")
    two, one = "e\u0301", "\u00e9"
    ids = own.encode(own.apply_chat_template(chat(one, two), tokenize=False))
    own.backend_tokenizer.normalizer = normalizers.NFC()
    assert own.encode(two) == own.encode(one)
    assert Retokenizer(own).conversation(ids) == Conversation(chat(one, two))


@pytest.mark.parametrize("given_tokenizer", [None, 5, [5], tokenizer])
def test_no_tokenizer(given_tokenizer: Any) -> None:
    with pytest.raises(InputError, match="takes a folder, a name"):
        Retokenizer(given_tokenizer)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot load the tokenizer"):
        Retokenizer(tmp_path)


@pytest.mark.parametrize(
    ("template", "hint"),
    [
        (None, "chat template"),
        ("{{ raise_exception('No.') }}", "No."),
        ("{{ messages[-1]['content'] }}", "does not separate turns"),
        ("{% for m in messages %}{{ m['content'] }}\n{% endfor %}", "does not separate turns"),
        ("{{ messages | map(attribute='role') | join }}", "does not separate turns"),
    ],
)
def test_a_template_of_no_use(template: str | None, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        Retokenizer(by_bytes(template or "", eos_token="<|im_end|>") if template else bare())


def bare() -> Any:
    own = by_bytes(CHATML, eos_token="<|im_end|>")
    own.chat_template = None
    return own


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"Retokenizer needs .*reward-client\[local\]"):
        Retokenizer(MODEL)


# Scored


@pytest.mark.parametrize("kind", OPENERS)
def test_the_reward_of_a_rollout_is_the_reward_of_its_messages(kind: Kind) -> None:
    samples = [chat("What is 45 + 43?", "88"), chat("What is 2 + 2?", "5"), chat("¿?", "é 東")]
    with RewardServer() as server, closing(OPENERS[kind](server.url)) as client:
        expected = [float(reward) for reward in client.score_many(samples)]
        assert len(set(expected)) == 3
        for family in FAMILIES:
            rollouts = [ids_of(family, messages) for messages in samples]
            conversation = retokenizer(family).conversation
            assert float(client.score(conversation(rollouts[0]))) == expected[0]
            scored = client.score_many(map(conversation, rollouts))
            assert [float(reward) for reward in scored] == expected


def test_marks_that_the_tokenizer_does_not_call_special() -> None:
    """Spelled out by a policy they are text, which as text would be taken for turns."""
    from tokenizers import AddedToken

    template = (
        "{%- for m in messages %}{{- ('<U>' if m['role'] == 'user' else '<A>') + m['content'] }}"
        "{%- endfor %}{%- if add_generation_prompt %}{{- '<A>' }}{%- endif %}"
    )
    policy = by_bytes(template, eos_token="<eos>", pad_token="<eos>")
    letters = {letter: policy.convert_tokens_to_ids(letter) for letter in "<UA>"}
    policy.add_tokens(
        [AddedToken(mark, special=False, normalized=False) for mark in ("<U>", "<A>")]
    )
    real = policy.encode("<U>one<A>two<U>one<A>two", add_special_tokens=False)
    turns = Retokenizer(policy).conversation(real).messages
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2
    spelled_out = policy.encode("<U>one<A>two", add_special_tokens=False)
    for mark in ("<U>", "<A>"):
        spelled_out += [*(letters[letter] for letter in mark), *policy.encode("one")]
    with pytest.raises(TokenizerMismatchError, match=r"spell out '<U>'"):
        Retokenizer(policy).conversation(spelled_out)
