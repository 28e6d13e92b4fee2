"""The forms of rows: which columns make the samples, and how their rewards are laid out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import TypeAlias, cast

from reward_client._base.json_values import as_mapping
from reward_client._base.samples import Sample
from reward_client._rows import names, readers
from reward_client._rows.columns import refuse_meaning
from reward_client._rows.fields import Fields
from reward_client._rows.layout import Layout
from reward_client._rows.readers import Side
from reward_client.errors import InputError

Columns: TypeAlias = Mapping[str, str] | Sequence[str]
"""The columns to read: their names, or their names by the names that a form has for them."""


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row as samples.

    Attributes:
        form: The name of the row's form.
        samples: The samples, side by side.
        layout: The layout of their rewards.
        unread: The names of the columns with a value that no sample is made of.
    """

    form: str
    samples: Sequence[Sample]
    layout: Layout
    unread: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """A form of rows.

    Attributes:
        needs: The columns that make it, in words.
        columns: Returns those of the present columns that make it.
        read: Reads its samples.
    """

    needs: str
    columns: Callable[[tuple[str, ...]], list[str]]
    read: Callable[[Fields], list[Side]]


def read_row(
    row: Mapping[str, object], form: str | None = None, columns: Columns | None = None
) -> ReadRow:
    """Read the samples of a row.

    Args:
        row: The row.
        form: The name of its form; None to recognize it by the columns.
        columns: The only columns to read; None for those that a form is made of.

    Raises:
        InputError: If the row has no form, or several; if its values do not fit the form; or if
            another column has a meaning for the model, which would be ignored.
    """
    fields = Fields(row if columns is None else _selected(row, columns))
    name, others = _recognized(fields, form)
    sides = FORMS[name].read(fields)
    fields.ignore(others)
    if columns is None:
        unread = tuple(_rest(fields))
    else:
        _refuse_unused(fields, name)
        unread = _not_selected(row, columns)
    return ReadRow(
        name,
        [*chain.from_iterable(samples for _, samples, _ in sides)],
        Layout.cached(
            tuple((side, len(samples) if many else None) for side, samples, many in sides)
        ),
        unread,
    )


def _rest(fields: Fields) -> Iterator[str]:
    for name, value in fields.unread():
        if name != names.ID:
            refuse_meaning(name, value)
            yield name


def _refuse_unused(fields: Fields, form: str) -> None:
    """Refuse a column that the caller names, and that the form does not read."""
    for name, _ in fields.unread():
        raise InputError(f"Cannot use the column {name!r}: the form {form} does not read it.")


def _not_selected(row: Mapping[str, object], columns: Columns) -> tuple[str, ...]:
    selected = {*_as_mapping(columns).values()}
    return tuple(name for name, _ in Fields(row).unread() if name not in selected)


def _as_mapping(columns: Columns) -> Mapping[str, str]:
    given = as_mapping(columns)
    if given is not None:
        return cast("Mapping[str, str]", given)
    return {name: name for name in cast("Sequence[str]", columns)}


def _selected(row: Mapping[str, object], columns: Columns) -> Mapping[str, object]:
    chosen = _as_mapping(columns)
    missing = [name for name in chosen.values() if name not in row]
    if missing:
        raise InputError(
            f"Cannot read the column {missing[0]!r}: the row has {_shown(row) or 'no columns'}."
        )
    return {name: row[given] for name, given in chosen.items()}


def _recognized(fields: Fields, form: str | None) -> tuple[str, list[str]]:
    """Return the name of the row's form, and the columns of other forms that may be ignored."""
    found = dict(_forms_of(tuple(fields)))
    if found.get("response") == [names.ANSWER] and len(found) > 1 and form != "response":
        del found["response"]  # the reference, beside what is to be scored
    if form is not None:
        if form not in found:
            raise InputError(
                f"Cannot read the row as form={form!r}: that needs {FORMS[form].needs}. The row "
                f"has {_present(fields) or 'no columns with a value'}."
            )
        if form != "messages":  # they are the prompt
            return form, [*chain.from_iterable(found.values())]
        return form, [each for name, group in found.items() for each in group if name != form]
    if len(found) > 1:
        found = {name: group for name, group in found.items() if name != "messages"}
    if {"preference", "response"} == found.keys() and _repeats_a_side(fields, found):
        return "preference", found["response"]
    if len(found) != 1:
        raise _unrecognized(fields, found)
    (name,) = found
    return name, []


@functools.lru_cache(maxsize=256)
def _forms_of(present: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Return the columns of each form that a row with these columns may have."""
    columns = {name: form.columns(present) for name, form in FORMS.items()}
    return {name: group for name, group in columns.items() if group}


def _unrecognized(fields: Fields, found: Mapping[str, Sequence[str]]) -> InputError:
    if not found:
        wanted = "; ".join(form.needs for form in FORMS.values())
        return InputError(
            f"Cannot score a row with {_present(fields) or 'no columns'}: no form has these. A row "
            f"needs one of: {wanted}. Name the columns to read (columns=) if they have other names."
        )
    groups = ", ".join(f"{' and '.join(group)} (form {name})" for name, group in found.items())
    return InputError(
        f"Cannot tell the form of a row with {groups}. Name the form (form=), or the columns to "
        "read (columns=)."
    )


def _present(fields: Fields) -> str:
    """Name the columns with a value, and those that would count if they had a text."""
    lacking = _shown(fields.without_text(names.SAMPLES))
    return ", and ".join([*filter(None, [_shown(fields), lacking and f"no text in {lacking}"])])


def _shown(names_: Sequence[str] | Fields | Mapping[str, object]) -> str:
    return ", ".join([str(name)[:40] for name in names_][:20])


def _repeats_a_side(fields: Fields, found: Mapping[str, Sequence[str]]) -> bool:
    """Return True if the response is a side of the preference too, as in full-hh-rlhf."""
    response = [fields.take(name) for name in found["response"]]
    sides = [fields.take(name) for name in found["preference"]]
    return all(each in sides for each in response)


def _named(choices: Sequence[str]) -> Callable[[tuple[str, ...]], list[str]]:
    return lambda present: [name for name in choices if name in present]


def _response_columns(present: tuple[str, ...]) -> list[str]:
    answer = [names.ANSWER] if names.ANSWER in present else []
    return [name for name in names.RESPONSE if name in present] or answer


def _preference_columns(present: tuple[str, ...]) -> list[str]:
    return [name for name in (*names.CHOSEN, *names.REJECTED) if name in present]


def _compared_columns(present: tuple[str, ...]) -> list[str]:
    return [*chain.from_iterable(names.compared(present))]


def _step_columns(present: tuple[str, ...]) -> list[str]:
    """Return the column of the steps. The labels of TRL's sets tell them from responses."""
    if names.STEPS in present:
        return [names.STEPS]
    if {names.NUMBERED_PROMPT, names.NUMBERED_STEPS} <= {*present}:
        return [names.NUMBERED_STEPS]
    return [name for name in (names.COMPLETIONS,) if {name, names.LABELS} <= {*present}]


FORMS: Mapping[str, Form] = MappingProxyType(
    {
        "messages": Form("messages", _named(names.CONVERSATION), readers.read_messages),
        "text": Form("text", _named([names.TEXT]), readers.read_text),
        "token_ids": Form("token_ids", _named([names.TOKEN_IDS]), readers.read_token_ids),
        "response": Form("prompt with response", _response_columns, readers.read_response),
        "responses": Form("prompt with responses", _named(names.RESPONSES), readers.read_responses),
        "preference": Form("chosen with rejected", _preference_columns, readers.read_preference),
        "comparison": Form(
            "response_a with response_b", _compared_columns, readers.read_comparison
        ),
        "steps": Form("problem with steps", _step_columns, readers.read_steps),
    }
)
