"""Values that are no samples: what they most likely are, and what to write instead.

Every function takes a caller's object, and may raise the errors of its methods. No text shows a
prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from difflib import get_close_matches
from itertools import islice
from types import MappingProxyType
from typing import cast

from reward_client._base.arrays import is_array, to_builtin
from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.roles import ROLES_BY_NAME
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
        return f"Cannot score a dict of lists as a conversation. Write {_zipped(name)}."
    if "role" in given:
        return f"Cannot score a single message as a conversation. Write {CONVERSATION}."
    keys = [key for key in islice(given, 100) if depth(given[key]) == levels]
    if keys:
        written = _written("{}", _cells(name, keys))
        return f"Cannot score a dict with other keys than role and content. {written}"
    tables = (in_place_of_table(given[key], *_cells(name, [key])) for key in islice(given, 100))
    return next(
        (advice for advice in tables if advice is not None),
        f"Cannot score {describe_type(given)} without messages or token IDs in it. Write "
        f"{CONVERSATION} for a conversation.",
    )


def in_place_of_table(table: object, name: str = "table") -> str | None:
    """Return what to write in the place of a table; None for other objects."""
    if hasattr(table, "collect_schema") and not hasattr(table, "__len__"):  # its columns would warn
        return (
            f"Cannot score {describe_type(table)}: it holds no cells yet. Write {name}.collect()."
        )
    columns = getattr(table, "column_names", None)
    columns = getattr(table, "columns", None) if columns is None else columns
    if not isinstance(columns, Iterable):
        return None
    names = [str(column) for column in islice(cast("Iterable[object]", columns), 100)]
    what = f"Cannot score {describe_type(table)}"
    if {"role", "content"} <= {*names}:
        return f"{what} as a conversation. Write score({_zipped(name)})."
    first_cells = {each: _first_cell(table, each) for each in names}
    cells = [each for each, cell in first_cells.items() if depth(cell) == 1]
    pair = None if cells else _question_and_answer(names)
    if pair is not None:
        columns_of = ", ".join(_cells(name, pair))
        return (
            f"{what}: a text needs a role. Write score_many([{_turns('question', 'answer')} "
            f"for question, answer in zip({columns_of})]). {_score_rows(name)}"
        )
    if not cells and any(cell is not None for cell in first_cells.values()):
        return f"{what}: no column holds samples. Write score_many([{CONVERSATION}, …])."
    written = _written("score_many({})", _cells(name, cells or names or ["messages"]))
    return f"{what}: a sample is a cell of one of its columns. {written} {_score_rows(name)}"


def in_place_of_rows(row: Mapping[str, object]) -> str:
    """Return what to write in the place of dicts that hold samples, or their texts."""
    keys = [key for key in islice(row, 100) if depth(row[key]) == 1]
    if keys:
        written = _written("score_many([{} for row in rows])", _cells("row", keys))
        return f"Cannot score rows with their keys. {written} {_score_rows('rows')}"
    pair = _question_and_answer([*islice(row, 100)])
    turns = CONVERSATION if pair is None else _turns(*_cells("row", pair))
    return (
        f"Cannot score rows without messages. Write score_many([{turns} for row in rows]). "
        f"{_score_rows('rows')}"
    )


def _score_rows(name: str) -> str:
    return f"To score rows by the columns of a usual data set, write score_rows({name})."


def _question_and_answer(keys: Iterable[str]) -> tuple[str, str] | None:
    """Return the keys of the texts of a user and an assistant, if there is one of each."""
    by_role: dict[str, list[str]] = {"user": [], "assistant": []}
    for key in keys:
        by_role.get(ROLES_BY_NAME.get(key.strip().lower(), ""), []).append(key)
    questions, answers = by_role.values()
    return (questions[0], answers[0]) if len(questions) == len(answers) == 1 else None


def _first_cell(table: object, column: str) -> object:
    try:
        return first(cast("Mapping[str, object]", table)[column])
    except Exception:  # noqa: BLE001 - a table of another kind; the advice does without its cells
        return None


def _zipped(name: str) -> str:
    return (
        f'[{{"role": role, "content": text}} for role, text in zip({name}["role"], '
        f'{name}["content"])]'
    )


def _turns(question: str, answer: str) -> str:
    return (
        f'[{{"role": "user", "content": {question}}}, {{"role": "assistant", "content": {answer}}}]'
    )


def _cells(name: str, keys: Iterable[object]) -> list[str]:
    return [f'{name}["{shorten(str(key), 40)}"]' for key in islice(keys, _SHOWN)]


def _written(code: str, cells: Sequence[str]) -> str:
    """Return the advice to write code with one cell, and the other cells in words."""
    written = f"Write {code.replace('{}', cells[0])}."
    if len(cells) > 1:
        written += f" For other samples, put {', '.join(cells[1:])} in its place."
    return written
