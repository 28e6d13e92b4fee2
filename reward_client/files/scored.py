"""Read the rows of files, with the rewards that they may have already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson

from reward_client._rows.results import RESULTS
from reward_client.errors import InputError
from reward_client.files.inputs.line import Line
from reward_client.files.inputs.source import Source
from reward_client.files.rows import values_of

_JSON_IN_TEXT = tuple(name for name in RESULTS if name != "form")
"""CSV holds the values of these columns as JSON in texts."""


def read_rows(source: Source) -> Iterator[Mapping[str, object]]:
    """Iterate over the columns of all rows.

    Raises:
        FileError: If a file cannot be read.
        InputError: If a row cannot be read.
    """
    for line in source.lines():
        try:
            yield scored_columns(line)
        except InputError as error:
            raise InputError(
                f"Cannot read row {line.position} of {source.name}: {error}"
            ) from error


def scored_columns(line: Line) -> Mapping[str, object]:
    """Return the columns of a row.

    Raises:
        InputError: If the row cannot be read.
    """
    row = values_of(line)
    texts = [name for name in _JSON_IN_TEXT if isinstance(row.get(name), str)]
    return {**row, **{name: _value(row[name]) for name in texts}} if texts else row


def _value(cell: object) -> object:
    try:
        return orjson.loads(str(cell)) if cell else None
    except orjson.JSONDecodeError:
        return cell
