"""The samples of a row, by its form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from reward_client._base.json_values import as_sequence
from reward_client._base.samples import Conversation, FormattedText, Message, Sample
from reward_client._rows import names
from reward_client._rows.fields import Fields
from reward_client._rows.images import with_images
from reward_client._rows.prompts import is_copy, prompt_turns, with_system_message
from reward_client._rows.turns import (
    are_equal,
    has_null,
    is_list_of_texts,
    json_value,
    text_of,
    turns_of,
)
from reward_client.errors import InputError

_NUMBER = re.compile(r"\A(?:Step\s*)?\d+\.\s*", re.IGNORECASE)

Side: TypeAlias = tuple[str | None, Sequence[Sample], bool]
"""The name of a side, its samples, and True if they are a list."""


def read_token_ids(fields: Fields) -> list[Side]:
    _refuse_others(fields, names.TOKEN_IDS)
    ids = as_sequence(json_value(fields.take(names.TOKEN_IDS)))
    if not ids or not isinstance(ids[0], int):
        raise InputError("token_ids must be a non-empty list of integers.")
    return [(None, [cast("Sequence[int]", ids)], False)]


def read_text(fields: Fields) -> list[Side]:
    _refuse_others(fields, names.TEXT)
    return [(None, [FormattedText(cast("str", fields.take(names.TEXT)))], False)]


def read_messages(fields: Fields) -> list[Side]:
    name = fields.present(names.CONVERSATION)
    turns = _conversation(_one_of(fields, names.CONVERSATION), name[0])
    for prompt in fields.present((*names.PROMPT, names.INSTRUCTION)):
        if not is_copy(fields, prompt, turns):
            raise InputError(
                f"Cannot combine {name[0]} with {prompt}: they hold other turns. Name the columns "
                "to read (columns=)."
            )
    return [(None, [_sample(fields, turns)], False)]


def read_response(fields: Fields) -> list[Side]:
    before = _prompt(fields)
    choices = names.RESPONSE if fields.present(names.RESPONSE) else [names.ANSWER]
    return [(None, [_answered(fields, before, _one_of(fields, choices))], False)]


def read_responses(fields: Fields) -> list[Side]:
    before = _prompt(fields)
    given = as_sequence(json_value(_one_of(fields, names.RESPONSES)))
    if not given:
        raise InputError("Responses must be a non-empty list of texts.")
    return [(None, [_answered(fields, before, each) for each in given], True)]


def read_preference(fields: Fields) -> list[Side]:
    chosen, rejected = fields.present(names.CHOSEN), fields.present(names.REJECTED)
    if len(chosen) != 1 or len(rejected) != 1:
        raise InputError(
            f"A preference needs chosen and rejected. The row has {', '.join(chosen + rejected)}."
        )
    if fields.present(names.CONVERSATION):
        return _preference_beside_messages(fields, chosen[0], rejected[0])
    before = prompt_turns(fields)
    return [
        (side, *_answers(fields, before, fields.take(column)))
        for side, column in (("chosen", chosen[0]), ("rejected", rejected[0]))
    ]


def _preference_beside_messages(fields: Fields, chosen: str, rejected: str) -> list[Side]:
    """Read a preference with messages: its prompt, or a copy of the chosen conversation."""
    (column, *more) = fields.present(names.CONVERSATION)
    if more:
        raise InputError(f"Cannot tell the prompt of a row with {column} and {', '.join(more)}.")
    turns = _conversation(fields.take(column), column)
    has_prompt = bool(fields.present((*names.PROMPT, names.INSTRUCTION)))
    is_answered = bool(turns) and turns[-1].get("role") == "assistant"
    before = prompt_turns(fields) if has_prompt or not is_answered else None
    sides: list[Side] = [
        (side, *_answers(fields, before, fields.take(name)))
        for side, name in (("chosen", chosen), ("rejected", rejected))
    ]
    if is_answered or has_prompt:
        copies = [cast("Conversation", sample) for _, samples, _ in sides for sample in samples]
        whole = _sample(fields, turns)
        if not any(each.messages[: len(whole.messages)] == whole.messages for each in copies):
            raise InputError(
                f"Cannot combine {chosen} and {rejected} with {column}: it is neither their prompt "
                "nor a copy of one of them. Name the columns to read (columns=)."
            )
    return sides


def read_comparison(fields: Fields) -> list[Side]:
    before = prompt_turns(fields)
    sides: list[Side] = []
    columns, *others = names.compared(tuple(fields))
    if others:
        raise InputError(
            f"Cannot tell which are compared: {' and '.join(columns)}, or "
            f"{' and '.join(others[0])}. Name the columns to read (columns=)."
        )
    for column in columns:
        samples, many = _answers(fields, before, fields.take(column))
        sides.append((column, samples, many))
    return sides


def read_steps(fields: Fields) -> list[Side]:
    if names.NUMBERED_STEPS in fields and names.STEPS not in fields:
        return _read_numbered_steps(fields)
    column = names.STEPS if names.STEPS in fields else names.COMPLETIONS
    fields.ignore([names.LABELS])
    steps = as_sequence(json_value(fields.take(column)))
    return _steps(fields, column, _prompt(fields), steps)


def _read_numbered_steps(fields: Fields) -> list[Side]:
    """Read a row of PRMBench. Its authors remove the numbers too (`remove_step_prefix`)."""
    prompt = fields.take(names.NUMBERED_PROMPT)
    steps = [
        _NUMBER.sub("", step.strip()) if isinstance(step, str) else step
        for step in as_sequence(json_value(fields.take(names.NUMBERED_STEPS))) or ()
    ]
    fields.ignore(names.PROMPT)  # the original ones, before a step or a condition was changed
    return _steps(fields, names.NUMBERED_STEPS, [{"role": "user", "content": prompt}], steps)


def _steps(
    fields: Fields, column: str, prompt: Sequence[Message], steps: Sequence[object] | None
) -> list[Side]:
    if not steps or not all(isinstance(step, str) and step for step in steps):
        raise InputError(f"{column} must be a non-empty list of non-empty texts.")
    turns = with_images(fields, with_system_message(fields, prompt))
    sample = Conversation(turns, **_template(fields), steps=cast("Sequence[str]", steps))
    return [(None, [sample], False)]


def _prompt(fields: Fields) -> list[Message]:
    turns = prompt_turns(fields)
    if turns is None:
        raise InputError(
            "A response needs a prompt in the same row: prompt, question, instruction or messages."
        )
    return turns


def _conversation(value: object, name: str) -> list[Message]:
    turns = turns_of(value)
    if turns is None:
        raise InputError(f"{name} must be a non-empty list of messages.")
    return turns


def _answers(
    fields: Fields, before: Sequence[Message] | None, value: object
) -> tuple[list[Sample], bool]:
    """Return the samples of a side, and True if it is a list of answers and not a single one."""
    items = None if turns_of(value) is not None else _listed(value)
    if items is None:
        return [_answered(fields, before, value)], False
    if not items:
        raise InputError("A side without a response cannot be scored.")
    return [_answered(fields, before, item) for item in items], True


def _listed(value: object) -> Sequence[object] | None:
    """Return the items of a side that is a list; None for a single answer, such as JSON."""
    if not isinstance(value, str):
        return as_sequence(value)
    if is_list_of_texts(value):
        raise InputError(
            "Cannot read a side that is a JSON list of texts: it may be one answer, or several. "
            'Write a list, or [{"role": "assistant", "content": …}].'
        )
    items = as_sequence(json_value(value))
    return items if items and all(turns_of(item) is not None for item in items) else None


def _answered(fields: Fields, before: Sequence[Message] | None, answer: object) -> Conversation:
    """Build the conversation that ends with an answer: a text, the last turns, or all turns."""
    last = turns_of(answer)
    if last is None:
        text = text_of(answer)
        if text is None:
            raise InputError("A response must be a text or a list of messages.")
        last = [{"role": "assistant", "content": text}]
        if before is None:
            raise InputError(
                "The row has texts without a prompt. Add a prompt to the row, or write the "
                "responses as lists of messages."
            )
    if before is None:
        return _sample(fields, last)
    if are_equal(last[: len(before)], before) and len(last) > len(before):
        return _sample(fields, last)
    if last[0].get("role") != "assistant":
        raise InputError(
            "The messages of an answer must start with the prompt's messages, or with an assistant "
            "message."
        )
    return _sample(fields, [*before, *last])


def _sample(fields: Fields, turns: Sequence[Message]) -> Conversation:
    return Conversation(
        with_images(fields, with_system_message(fields, turns)), **_template(fields)
    )


def _template(fields: Fields) -> dict[str, Any]:
    """Return what a chat template sees beside the turns. A table has empty values for nothing."""
    if fields.filled([names.TOOLS]) and has_null(fields.take(names.TOOLS)):
        raise InputError(
            "Cannot read tools: a key is null, as tables write it for the keys of other tools, and "
            "chat templates show it. Leave it out, or write the tools as JSON in a text."
        )
    return {
        name: (json_value(fields.take(name)) or None) if fields.filled([name]) else None
        for name in (names.TOOLS, names.TEMPLATE_ARGUMENTS)
    }


def _refuse_others(fields: Fields, name: str) -> None:
    """Refuse columns beside text and token IDs, which hold the whole prompt."""
    others = fields.filled((names.READ | {"role"}) - {name})  # OASST has one message in each row
    if others:
        raise InputError(
            f"Cannot combine {name} with {', '.join(sorted(others))}: it is the whole conversation."
        )


def _one_of(fields: Fields, choices: Sequence[str]) -> object:
    present = fields.present(choices)
    if len(present) > 1:
        raise InputError(
            f"Cannot tell which of {' and '.join(present)} is to be scored. Name the columns to "
            "read (columns=)."
        )
    return fields.take(present[0])
