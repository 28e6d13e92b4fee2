"""The turns that a value of a row stands for: OpenAI's form, ShareGPT's, or a text with markers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

import orjson

from reward_client._base.arrays import to_builtin
from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.samples import Message
from reward_client._rows.columns import refuse_meaning
from reward_client._rows.fields import is_empty
from reward_client.errors import InputError

_SHAREGPT: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("human", "user", "prompter"), "user"),
        **dict.fromkeys(("gpt", "assistant", "model", "chatgpt", "bing", "bard"), "assistant"),
        "system": "system",
    }
)
"""Roles of ShareGPT sets. Those of tools have several meanings, and are refused."""

_TEXTS = ("content", "value", "response", "answer", "completion", "output", "text", "full_text")
"""Keys of the text in an object that stands for one response or prompt."""

_FACTS = frozenset(
    [
        *("language", "weight"),
        *("country", "hashed_ip", "header", "redacted", "state", "timestamp", "toxic"),
        "turn_identifier",
    ]
)
"""Keys of facts about a turn, which no chat template reads: RMB has a language, OpenAI's sets for
fine-tuning a weight, WildChat all the others."""

_HH = re.compile(r"\n\n(Human|Assistant):")
"""Turns in one string, as in Anthropic's hh-rlhf."""

_STEERLM = re.compile(r"\n<extra_id_1>(User|Assistant)\n")
"""Turns after the first one in one string, as in HelpSteer2 (NeMo-Aligner, steerlm/common.py)."""

_PYTHON_TEXT = re.compile(r"""\[\s*\{\s*'(?:role|content|from|value)'""")


def turns_of(value: object) -> list[Message] | None:
    """Return the turns that a value holds; None if it holds none.

    Raises:
        InputError: If they are turns in a form that has several meanings.
    """
    value = to_builtin(value)
    if isinstance(value, str):
        return _turns_in_text(value)
    columns = as_mapping(value)
    if columns is not None:
        return _zipped(columns) or _one_turn(columns)
    items = as_sequence(value)
    if not items:
        return None
    turns = [as_mapping(to_builtin(item)) for item in items]
    if not all(turn is not None and ("role" in turn or "from" in turn) for turn in turns):
        return None
    return [_turn(turn) for turn in turns if turn is not None]


def text_of(value: object) -> str | None:
    """Return the text that a value stands for: itself, or the text in an object; None without one.

    Raises:
        InputError: If the object has another key that a model should see.
    """
    value = to_builtin(value)
    if isinstance(value, str):
        return value
    given = as_mapping(value)
    if given is None or "role" in given or "from" in given:
        return None
    texts = [key for key in _TEXTS if isinstance(given.get(key), str)]
    if len(texts) != 1:
        return None
    for key, inner in given.items():
        if key != texts[0] and inner is not None and not is_empty(inner):
            refuse_meaning(key, inner)
    return cast("str", given[texts[0]])


def json_value(value: object) -> object:
    """Return the list or object that a JSON text holds; other values unchanged."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return cast("object", orjson.loads(value))
        except orjson.JSONDecodeError:
            return value
    return value


def is_list_of_texts(value: object) -> bool:
    """Return True for a JSON text with a list of texts: one text, or several."""
    items = as_sequence(json_value(value)) if isinstance(value, str) else None
    return bool(items) and any(isinstance(item, str) for item in items or ())


def has_null(value: object) -> bool:
    """Return True for null, and for an object or a list with a null inside."""
    inner = as_mapping(value)
    items = as_sequence(value) if inner is None else [*inner.values()]
    return value is None or any(map(has_null, items or ()))


def _turns_in_text(text: str) -> list[Message] | None:
    if text.startswith("\n\nHuman:") or (text.startswith("Human:") and "\n\nAssistant:" in text):
        return _split_hh(text)
    if _STEERLM.search(text):
        return _split(_STEERLM, f"\n<extra_id_1>User\n{text}")
    if text.lstrip()[:1] != "[":
        return None
    if _PYTHON_TEXT.match(text.lstrip()):
        raise InputError(
            "Cannot read turns that Python's str() wrote: other texts look alike. Write them as "
            "JSON, such as json.dumps(messages)."
        )
    parsed = json_value(text)
    return None if isinstance(parsed, str) else turns_of(parsed)


def _split_hh(text: str) -> list[Message]:
    """Split Anthropic's form. A last "Assistant:" without text is the place of the response."""
    turns: list[Message] = [
        {"role": turn["role"], "content": str(turn["content"]).strip()}
        for turn in _split(_HH, "\n\n" + text.lstrip("\n"))
    ]
    return turns[:-1] if turns[-1] == {"role": "assistant", "content": ""} else turns


def _split(marker: re.Pattern[str], text: str) -> list[Message]:
    _, *parts = marker.split(text)
    return [
        {"role": "assistant" if name == "Assistant" else "user", "content": content}
        for name, content in zip(parts[::2], parts[1::2], strict=True)
    ]


def _zipped(columns: Mapping[str, object]) -> list[Message] | None:
    """Return the turns of an object of lists, as `datasets` before 4.0 wrote a list of objects."""
    lists = {key: as_sequence(to_builtin(value)) for key, value in columns.items()}
    rows = lists.get("role") or lists.get("from")
    if not rows or not all(each is not None and len(each) == len(rows) for each in lists.values()):
        return None
    return [
        _turn({key: each[index] for key, each in lists.items() if each is not None})
        for index in range(len(rows))
    ]


def _one_turn(given: Mapping[str, object]) -> list[Message] | None:
    return [_turn(given)] if "role" in given or "from" in given else None


def _turn(given: Mapping[str, object]) -> Message:
    """Return a turn in OpenAI's form. `_base.samples` checks it."""
    if "role" in given or "from" not in given:
        _check_calls(given.get("tool_calls"))
        return {key: to_builtin(value) for key, value in given.items() if key not in _FACTS}
    role = _SHAREGPT.get(str(given["from"]))
    if role is None:
        raise InputError(
            f"Cannot read a turn from {str(given['from'])[:40]!r}: its role in the model's chat "
            'template is not known. Write {"role": …, "content": …}.'
        )
    rest = {key: each for key, each in given.items() if key not in ("from", "value")}
    for key, inner in rest.items():
        if inner is not None and not is_empty(inner):
            refuse_meaning(key, inner)
    return {"role": role, "content": to_builtin(given.get("value"))}


def _check_calls(calls: object) -> None:
    """Refuse arguments with a null: a table writes it for the arguments of other calls."""
    for call in as_sequence(to_builtin(calls)) or ():
        function = as_mapping((as_mapping(call) or {}).get("function")) or {}
        arguments = as_mapping(function.get("arguments"))
        if arguments is not None and has_null(arguments):
            raise InputError(
                "Cannot read a tool call: an argument is null, as tables write it for the "
                "arguments of other calls. Write the arguments as JSON in a text."
            )


def are_equal(some: Sequence[Message], others: Sequence[Message]) -> bool:
    """Return True if turns have equal roles and contents."""
    return [_essence(turn) for turn in some] == [_essence(turn) for turn in others]


def _essence(turn: Message) -> dict[str, object]:
    """Return what is not null: `datasets` writes null for every key that other turns have."""
    return {key: to_builtin(value) for key, value in turn.items() if value is not None}
