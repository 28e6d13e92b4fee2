"""Values that are no samples: what they most likely are, and what to write instead.

Every function takes a caller's object, and may raise the errors of its methods. No text shows a
prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from itertools import islice
from types import MappingProxyType
from typing import cast

from reward_client._base.arrays import is_array, to_builtin
from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.wording import describe_type, shorten

CONVERSATION = '[{"role": "user", "content": …}, {"role": "assistant", "content": …}]'

MANY = "To score a list of samples, write score_many(samples); for its only one, score(samples[0])."

_SHOWN = 6
_DEEPEST = 4


# From ShareGPT, OpenAssistant, Gemini, Anthropic, older OpenAI and reasoning servers.
_OTHER_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "content": (
            *("text", "value", "message", "msg", "body", "answer", "response", "completion"),
            *("prompt", "question", "query", "utterance", "output", "input", "parts", "contents"),
        ),
        "tool_calls": ("function_call", "function_calls", "tool_call"),
        "role": ("from", "author", "speaker", "sender"),
        "reasoning": (
            *("reasoning_content", "reasoning_text", "thinking", "thought", "thoughts"),
            *("reasoning_details", "thinking_blocks", "chain_of_thought"),
        ),
    }
)


def usual_key(key: str, known: Collection[str]) -> str | None:
    """Return the key of a message that another name or a misspelling most likely stands for."""
    name = key.strip().lower()
    if name in known:
        return name
    by_meaning = (usual for usual, others in _OTHER_KEYS.items() if name in others)
    return next(by_meaning, None) or next(iter(get_close_matches(name, known, 1)), None)


def depth(value: object, most: int = _DEEPEST) -> int | None:
    """Return the levels of lists around dicts or numbers; None for other values.

    A message or a token ID has 0 levels, a sample 1, and a list of samples 2.
    """
    value = to_builtin(value)
    if as_mapping(value) is not None or isinstance(value, int | float):
        return 0
    inner = depth(first(value), most - 1) if most else None
    return None if inner is None else inner + 1


def first(value: object) -> object:
    """Return the first element of a sequence, an array or a column; None if there is none."""
    if not is_array(value):
        return next(iter(as_sequence(value) or ()), None)
    if not hasattr(value, "__iter__"):  # a scalar of pyarrow may hold a list
        return first(to_builtin(value))
    return next(iter(cast("Iterable[object]", value)), None)


def in_place_of_message(item: object) -> str:
    """Return what to write in the place of an item that is no dict."""
    if isinstance(item, str) or isinstance(first(item), str):
        return f"A text needs a role. Write {CONVERSATION}."
    if depth(item) is not None:
        return MANY
    if hasattr(item, "model_dump") and hasattr(item, "role"):
        return "For a pydantic object write message.model_dump(exclude_none=True)."
    if hasattr(item, "model_dump"):
        return "For LangChain messages write convert_to_openai_messages(messages)."
    if is_dataclass(item):
        return "For a dataclass write dataclasses.asdict(message)."
    return f"Write {CONVERSATION}."


def in_place_of_dict(given: Mapping[str, object], levels: int, name: str) -> str:
    """Return what to write in the place of a dict.

    Args:
        given: The dict.
        levels: The `depth` of what is expected.
        name: The name of the dict in the example.
    """
    if isinstance(first(given.get("role")), str):  # `datasets` writes a list of structs so
        return (
            "Cannot score a dict of lists as a conversation. Write "
            f'[{{"role": role, "content": text}} for role, text in zip({name}["role"], '
            f'{name}["content"])].'
        )
    if "role" in given:
        return f"Cannot score a single message as a conversation. Write {CONVERSATION}."
    keys = [key for key in islice(given, 100) if depth(given[key]) == levels]
    if keys:
        choices = _choices(name, keys)
        return f"Cannot score a dict with other keys than role and content. Write {choices}."
    tables = (in_place_of_table(given[key], _choices(name, [key])) for key in islice(given, 100))
    return next(
        (advice for advice in tables if advice is not None),
        f"Cannot score {describe_type(given)} without messages or token IDs in it. Write "
        f"{CONVERSATION} for a conversation.",
    )


def in_place_of_table(table: object, name: str = "table") -> str | None:
    """Return what to write in the place of a table; None for other objects."""
    columns = getattr(table, "column_names", getattr(table, "columns", None))
    if not isinstance(columns, Iterable):
        return None
    return (
        f"Cannot score {describe_type(table)}: a sample is a cell of one of its columns. Write "
        f"score_many({_choices(name, cast('Iterable[object]', columns))})."
    )


def in_place_of_rows(row: Mapping[str, object]) -> str:
    """Return what to write in the place of dicts that hold samples."""
    keys = [key for key in islice(row, 100) if depth(row[key]) == 1]
    return (
        "Cannot score rows with their keys. Write "
        f"score_many([{_choices('row', keys or ['messages'])} for row in rows])."
    )


def _choices(name: str, keys: Iterable[object]) -> str:
    shown = [f'{name}["{shorten(str(key), 40)}"]' for key in islice(keys, _SHOWN)]
    return " or ".join(shown)
