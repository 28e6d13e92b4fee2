"""Files for a judge that compares two responses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from reward_client._rows.contests import refuse_single
from reward_client._rows.forms import Columns, read_row
from reward_client.errors import InputError
from reward_client.files.inputs.line import Line
from reward_client.files.rows import values_of


def with_contest(
    lines: Iterator[Line], form: str | None, columns: Columns | None
) -> Iterator[Line]:
    """Return the lines, after a check that the first one has several responses.

    Raises:
        InputError: If it has a single one: all others are most likely like it.
    """
    first = next(lines, None)
    if first is None:
        return iter(())
    try:
        read = read_row(values_of(first), form, columns)
    except InputError:  # it becomes the result of the row
        return chain([first], lines)
    refuse_single(read)
    return chain([first], lines)
