"""Texts inside of contents that the tokenizer makes control tokens of. Pure.

Such a text ends a turn, or opens another one, in the place of what the author wrote. A pattern
finds the texts that may be one, and the server says once for each text if it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.samples import Conversation, Message, Prompt
from reward_client._base.wording import shorten
from reward_client.errors import InputError

_NAME = r"[\w:.▁-]"
_WORDS = (
    r"(?:bos|eos|eot|eod|eom|eop|sop|pad|sep|cls|unk|mask|begin|start|end|turn|role|unused|reserved"
    r"|special|extra_id|header|message|sequence|extra_\d|user|assistant|system|human|bot)"
)
# ChatML, Llama 3 and 4, Phi, GLM, Kimi, gpt-oss, Cohere, Granite, Falcon, Yi and OLMo write
# <|…|>; DeepSeek and Hunyuan the same with wide bars; Llama 2 and Mistral <s>, </s>, <unk> (as
# padding) and [INST]; Gemma <bos>, <mask> and <start_of_turn>; Nemotron <extra_id_1> and
# <SPECIAL_11>; Seed <seed:bos>; GLM [gMASK]<sop>; BERT [SEP] and [unused1]; InternLM
# [UNUSED_TOKEN_145]; EXAONE [|assistant|]; MiniMax [e~[.
_CONTROL = re.compile(
    r"<\|[^|<>\s]{1,64}\|>|<｜[^｜<>\s]{1,64}｜>|</?s>"  # noqa: RUF001 - wide bars
    rf"|<[|/]?{_NAME}{{0,40}}{_WORDS}{_NAME}{{0,24}}\|?>",
    re.IGNORECASE,
)
_ANGLED = re.compile(r"<[^<>\s]{1,68}>")
_SQUARE = re.compile(
    r"\[(?:/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|gMASK|sMASK|BOS|EOS|PAD|SEP|CLS|UNK"
    r"|MASK|unused\d{1,4}|UNUSED_TOKEN_\d{1,4})\]|\|\w{1,32}\|\]|e~\[)"
)
# Models write these themselves, or images and tools stand there: they belong to contents.
_IN_CONTENTS = re.compile(
    r"think|thought|reason|tool(?!_results)|function|python_tag|image|img|vision|video|audio|media"
    r"|patch|object_ref|box|quad|point|fim_|code|repo_?name|file_sep|citation|answer|begin_of_solution"
    r"|end_of_solution",
    re.IGNORECASE,
)
_ROLES = re.compile(r"<[|｜]?(?:tool|observation|tool_start|tool_end)[|｜]?>")  # noqa: RUF001
_ENDS = re.compile(
    r"(?!.*(?:header|role|prompt))(?:.*(?:end|eo[stmdp]|pad|return|call)|</s>|<unk>)", re.IGNORECASE
)
_MARKER = re.compile(f"{_ANGLED.pattern}|{_SQUARE.pattern}")
# Padding of some tokenizers (Unsloth's for Qwen) is named like the place of an image. Authors write
# such a place by hand only beside an image of the same conversation: vLLM puts the image there.
_PADDING = re.compile(r"<.*pad(?:ding)?[|｜]?>", re.IGNORECASE)  # noqa: RUF001
_PLACES = re.compile("image|img|vision|video|audio|media", re.IGNORECASE)
# Punctuation that ordinary text seldom has, in any script: colons, brackets, "#", "*", ">".
_RARE = r"[^\w\s.,;!?'\"()…–—’“”«»。，、！？；（）-]"  # noqa: RUF001
_RARELY = re.compile(_RARE)
# What names a role: a word of any script, a pictograph, or three signs, such as ">>>".
_NAMING = re.compile(rf"[^\W_]|[\u2600-\u27bf\U0001f000-\U0001faff]|{_RARE}{{3}}")
# Chat templates join parts without a separator. vLLM does it for the others, with a line break.
_JOINTS = ("", "\n")
# One search through all texts of tools takes a fraction of the time. No marker holds this.
_BETWEEN = " \0 "
_SHOWN_CHARACTERS = 40


def suspects(prompt: Prompt, headers: tuple[str, ...] = ()) -> list[str]:
    """Return the texts in a conversation that may be control tokens, each once.

    Text after the chat template and token IDs are the caller's own.

    Args:
        prompt: The prompt.
        headers: What the template writes between turns.
    """
    if not isinstance(prompt, Conversation):
        return []
    plain = _plain(headers)
    found: dict[str, None] = {}
    for message in prompt.messages:
        content = message.get("content")
        if type(content) is str and len(message) == 2:
            # Nearly all contents end here.
            if "<" in content or "[" in content or any(map(content.__contains__, plain)):
                found |= dict.fromkeys(_found(content, headers))
        else:
            found |= dict.fromkeys(
                each for text in _shown(message) for each in _found(text, headers)
            )
    given = (prompt.tools, prompt.chat_template_kwargs)
    others = [_BETWEEN.join(_texts(each)) for each in given if each is not None]
    for text in (*(prompt.steps or ()), *others):
        found |= dict.fromkeys(_found(text, headers))
    return [marker for marker in found if not _is_place(marker, prompt)]


@lru_cache(maxsize=64)
def _plain(headers: tuple[str, ...]) -> tuple[str, ...]:
    """Return the headers that no pattern finds."""
    return tuple(header for header in headers if not _MARKER.fullmatch(header))


def _found(text: str, headers: tuple[str, ...]) -> Iterator[str]:
    if "<" in text:
        markers = _ANGLED.findall(text)
        yield from (marker for marker in markers if _is_suspect(marker) or marker in headers)
    if "[" in text:
        yield from _SQUARE.findall(text)
    yield from (
        header for header in _plain(headers) if header in text and _pattern(header).search(text)
    )


@lru_cache(maxsize=64)
def _pattern(header: str) -> re.Pattern[str]:
    """Return the pattern of a plain header: another word may begin with its last one."""
    return re.compile(re.escape(header) + (r"(?!\w)" if header[-1].isalnum() else ""))


@lru_cache(maxsize=4096)
def _is_suspect(marker: str) -> bool:
    return _CONTROL.fullmatch(marker) is not None and not _belongs(marker)


def _belongs(marker: str) -> bool:
    """Return True for the markers that models write into contents."""
    return (
        _IN_CONTENTS.search(marker) is not None
        and _ROLES.fullmatch(marker) is None
        and _PADDING.fullmatch(marker) is None
    )


def _is_place(marker: str, conversation: Conversation) -> bool:
    """Return True for the place of an image, a video or a sound that the conversation holds."""
    return (
        _PADDING.fullmatch(marker) is not None
        and _PLACES.search(marker) is not None
        and bool(conversation.other_parts())
        and not any(text.rstrip().endswith(marker) for text in _shown(conversation.messages[-1]))
    )


def _shown(message: Message) -> Iterator[str]:
    """Yield the texts of a message, as written and as the template gets them."""
    yield from _texts(message)
    parts = [as_mapping(part) or {} for part in as_sequence(message.get("content")) or ()]
    texts = [text for part in parts for key, text in part.items() if key != "type"]
    for joint in _JOINTS:
        yield joint.join(text for text in texts if isinstance(text, str))
    for call in as_sequence(message.get("tool_calls")) or ():
        function = as_mapping((as_mapping(call) or {}).get("function")) or {}
        arguments = function.get("arguments")
        if isinstance(arguments, str) and "\\" in arguments:
            with suppress(ValueError, RecursionError):  # vLLM refuses such arguments
                yield from _texts(json.loads(arguments))


def _texts(value: object) -> Iterator[str]:
    """Yield every text in a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif (fields := as_mapping(value)) is not None:
        for key, each in fields.items():
            yield key
            yield from _texts(each)
    else:
        for each in as_sequence(value) or ():
            yield from _texts(each)


def headers_of(pieces: Sequence[str]) -> tuple[str, ...]:
    """Return the markers and the plain texts that separate turns, such as ``"Human:"``.

    Args:
        pieces: What the template writes between the contents of turns.
    """
    found: set[str] = set()
    for piece in pieces:
        found |= {mark for mark in _MARKER.findall(piece) if not _belongs(mark)}
        found |= {header for text in _MARKER.split(piece) if (header := _plain_header(text))}
    return tuple(sorted(found))


def _plain_header(text: str) -> str | None:
    """Return the part of a text without markers that ordinary contents do not hold, if any."""
    if not _NAMING.search(text):
        return None
    if _RARELY.search(text):
        return text.strip(" ").rstrip()
    # A line of ordinary words or signs is a header exactly as the template writes it.
    return text if text.lstrip(" \t\r").startswith("\n") else None


def check_contents(conversation: Conversation, control: Collection[str]) -> None:
    """Refuse control tokens in contents.

    Args:
        conversation: The conversation.
        control: The control tokens in it.

    Raises:
        InputError: If there are any.
    """
    if not control:
        return
    token = min(control)
    places = (
        *((f"message {number}", _shown(each)) for number, each in enumerate(conversation.messages)),
        ("a definition in tools=", _texts(conversation.tools)),
        ("an argument in chat_template_kwargs=", _texts(conversation.chat_template_kwargs)),
    )
    where = next((name for name, texts in places if any(token in text for text in texts)), "a step")
    raise InputError(
        f"Cannot score this conversation: {where} holds the control token "
        f"{shorten(token, _SHOWN_CHARACTERS)!r}, which the chat template writes around contents. "
        'Decode responses with skip_special_tokens=True, give on_control_tokens="strip" for the '
        'tokens that end an answer, or "allow" if they are meant.'
    )


def without_end(conversation: Conversation, control: Collection[str]) -> Conversation:
    """Return a conversation without the end tokens and padding at the end of its answer."""
    ends = [token for token in control if _ENDS.match(token)]
    if conversation.steps:
        *steps, last = conversation.steps
        return replace(conversation, steps=[*steps, _stripped(last, ends) or last])
    *turns, answer = conversation.messages
    content = answer.get("content")
    if answer["role"] != "assistant" or not isinstance(content, str):
        return conversation
    stripped: Message = {**answer, "content": _stripped(content, ends)}
    return replace(conversation, messages=[*turns, stripped])


def _stripped(text: str, ends: Sequence[str]) -> str:
    while (end := next((end for end in ends if text.rstrip().endswith(end)), None)) is not None:
        text = text.rstrip().removesuffix(end)
    return text
