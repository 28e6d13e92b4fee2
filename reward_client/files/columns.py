"""The columns of an input row: those that a sample is made of, and those that must not be ignored.

Without a check, a column that the model should see and this package does not read would be dropped
without a word. The reward would then belong to another conversation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

from reward_client.errors import InputError

FORMS = ("messages", "text", "token_ids", "responses", "chosen", "rejected")
SYSTEM = ("system", "system_prompt", "system_message")
ALLOWED_WITH: Mapping[str, tuple[str, ...]] = {
    "tools": ("messages", "responses", "chosen"),
    "chat_template_kwargs": ("messages", "responses", "chosen"),
    "steps": ("messages",),
    "prompt": ("responses", "chosen"),
    **dict.fromkeys(SYSTEM, ("messages", "responses", "chosen")),
}
"""Fields that only some forms use. Any other form would silently ignore them."""

_PROMPTS = "(?:prompt|message|msg|instruction)s?"
_SYSTEM = "Name it system"
_TEMPLATE = "Write it into chat_template_kwargs"
_REASONING = "Write it as reasoning_content of the message"
_SWITCHES = (_TEMPLATE, _REASONING)
"""Advice for a column that a boolean may turn on or off."""

# Patterns of the words, joined by underscores, of the columns of public preference, chat and
# instruction data sets, and of the keys of chat requests. The first that a name contains counts.
_MEANINGS: Mapping[str, str] = {
    _TEMPLATE: "(?:chat_)?template_(?:kw)?args|chat_template|add_generation_prompt"
    "|continue_final_message|enable_thinking|reasoning_effort",
    _SYSTEM: f"sys(?:tem)?_{_PROMPTS}|{_PROMPTS}_sys(?:tem)?",
    "Write it as the last message, or into responses": (
        "response|responses|completions?|candidates?|generations?|repl(?:y|ies)"
    ),
    "Write it as a part of a message's content": (
        "images?|imgs?|pictures?|photos?|screenshots?|videos?|audios?|pixel_values"
        "|files|media|attachments?|multi_?modal_data"
    ),
    _REASONING: "reasoning(?:_traces?)?|thinking|thoughts?|thought_process|chain_of_thought|cot",
    "Write its turns into messages or prompt": (
        "histor(?:y|ies)|conversations?|convo?s?|dialog(?:ue)?s?|chat|turns"
        "|(?:previous|prior|past|earlier|context)_messages?"
    ),
    "Write it into the tool_calls of a message": "(?:function|tool)_calls?",
    "Write them as tools": (
        "tools?|functions?|tool_choice|(?:function|tool)_(?:definition|def|schema|spec)s?"
    ),
    "Write it into a message, or into chat_template_kwargs if the model's template reads it": (
        "documents?|docs?|chunks?|search_results"
    ),
    "Write it into the prompt or a message": (
        f"{_PROMPTS}|inputs?|contexts?|quer(?:y|ies)|passages?|knowledge"
    ),
}
_BEFORE = (
    "chat|previous|prior|past|earlier|full|whole|multi|user|human|assistant|model|bot|ai|llm|agent"
    "|inputs?|request|retrieved|relevant|available|default|custom|initial|extra|additional"
    "|developer|task|rag|chosen|rejected|list_of|raw|attached"
)
"""Words before one with a meaning that leave the meaning."""
_AFTER = (
    "text|texts|str|string|json|list|contents?|raw|log|logs|url|urls|uri|uris|paths?|files?"
    "|filenames?|bytes|base|data|frames|blocks|details|used|[a-z]|[0-9]+"
)
"""Words after it that do. After any other one the column is about it: an ID, a count, a score."""
_CORE = "|".join(_MEANINGS.values())
_NAME = re.compile(
    rf"(?:(?:{_BEFORE})_)*(?P<core>(?:{_CORE})(?:_(?:{_CORE}))*)(?:_(?:{_AFTER}))*"
    r"|(?P<system>sys(?:tem)?)(?:_(?:text|content|role))?"
)
_WORD = re.compile(r"[A-Z]+s?(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_MAX_CHARACTERS = 80
_READ = frozenset((*FORMS, *ALLOWED_WITH))
_WITHOUT_SEPARATORS = {
    name.replace("_", ""): name
    for name in (
        *(*_READ, "chat_history", "conversation_history", "sys_prompt", "image_url", "image_urls"),
        *("image_path", "tool_calls", "function_call", "chat_template", "reasoning_content"),
    )
}


class Columns(NamedTuple):
    """The columns of a row.

    Attributes:
        read: The fields that a sample is made of.
        unread: The names of the other ones with a value, except for the row's ID.
    """

    read: dict[str, object]
    unread: tuple[str, ...]


def read_columns(given: Mapping[str, object]) -> Columns:
    """Divide the fields of a row.

    Files that were made from tables contain null for a missing field, and often an empty text,
    list or object for an optional one.

    Raises:
        InputError: If another field has a meaning for the model, which would be ignored.
    """
    unread: list[str] = []
    for name, value in given.items():
        if name in _READ or name == "id" or value is None or value in ("", [], {}):
            continue
        advice = _advice(name)
        if advice is not None and not _is_number(value, advice):
            raise InputError(
                f"Cannot score a row with the field {name!r}: it would be ignored. {advice}, or "
                "rename the field if the model should not see it."
            )
        unread.append(name)
    read = {
        key: given[key]
        for key in (*FORMS, *ALLOWED_WITH)
        if given.get(key) is not None and not (key in SYSTEM and given[key] == "")
    }
    return Columns(read, tuple(unread))


@functools.lru_cache(maxsize=1024)
def _advice(name: str) -> str | None:
    """Return what to do with a column that the client does not read; None if it has no meaning."""
    if len(name) > _MAX_CHARACTERS:
        return None
    words = [word.lower() for word in _WORD.findall(name)]
    usual = _WITHOUT_SEPARATORS.get("".join(words), "_".join(words))
    if usual in _READ:
        return f"Name it {usual}"
    found = _NAME.fullmatch(usual)
    if found is None:
        return None
    if found["system"]:
        return _SYSTEM
    return next(
        advice
        for advice, pattern in _MEANINGS.items()
        if re.search(rf"(?:^|_)(?:{pattern})(?:_|$)", found["core"])
    )


def _is_number(value: object, advice: str) -> bool:
    """Return True for a count, a mark or an answer to yes or no, which no model sees."""
    return isinstance(value, int | float) and not (isinstance(value, bool) and advice in _SWITCHES)


def system_message(row: Mapping[str, object]) -> str | None:
    """Return the text of the row's system message; None without one.

    Raises:
        InputError: If it is no text, or if two fields differ.
    """
    given = {name: row[name] for name in SYSTEM if name in row}
    texts = [*given.values()]
    if not texts:
        return None
    text = texts[0]
    if not isinstance(text, str) or any(other != text for other in texts):
        raise InputError(f"{' and '.join(given)} must be one text: the system message.")
    return text
