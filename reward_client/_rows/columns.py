"""The columns that must not be ignored.

Without a check, a column that the model should see and this package does not read would be dropped
without a word. The reward would then belong to another conversation.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from reward_client._rows.fields import NUMBERS
from reward_client._rows.names import READ
from reward_client.errors import InputError

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
_WITHOUT_SEPARATORS = {
    name.replace("_", ""): name
    for name in (
        *(*READ, "chat_history", "conversation_history", "sys_prompt", "image_url", "image_urls"),
        *("image_path", "tool_calls", "function_call", "chat_template", "reasoning_content"),
    )
}


def refuse_meaning(name: str, value: object) -> None:
    """Refuse a column that has a meaning for the model, and that would be ignored.

    Raises:
        InputError: If the column has one.
    """
    advice = _advice(name)
    if advice is not None and not _is_number(value, advice):
        raise InputError(
            f"Cannot score a row with the column {name!r}: it would be ignored. {advice}. If the "
            "model should not see it, rename it, or name the columns to read (columns=)."
        )


@functools.lru_cache(maxsize=1024)
def _advice(name: str) -> str | None:
    """Return what to do with a column that the client does not read; None if it has no meaning."""
    if len(name) > _MAX_CHARACTERS:
        return None
    words = [word.lower() for word in _WORD.findall(name)]
    usual = _WITHOUT_SEPARATORS.get("".join(words), "_".join(words))
    if usual in READ:
        return f"Name it {usual}" if usual != name else "Name the form to read (form=)"
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
    return isinstance(value, NUMBERS) and not (isinstance(value, bool) and advice in _SWITCHES)
