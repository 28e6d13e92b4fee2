"""Parse the lines of the input into rows, and format their results as lines."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from reward_client._base.json_values import as_mapping
from reward_client._base.results import Reward
from reward_client._base.samples import Sample
from reward_client._base.unique_keys import RepeatedKeyError, parse_json
from reward_client._rows.contests import as_contest
from reward_client._rows.errors import error_object
from reward_client._rows.forms import Columns, ReadRow, read_row
from reward_client._rows.layout import OneLayout
from reward_client._rows.results import RESULTS, refuse_clash, result_columns
from reward_client.errors import InputError, RewardClientError
from reward_client.files.inputs.line import Line

_DIGEST_BYTES = 16
_OWN = ("row", "digest")
"""The names of the further columns of a line of results."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the input.

    Attributes:
        line: Line of the input file.
        digest: Digest of the row and the settings, which the result contains.
        read: The samples to score; None if the row has a result already, or cannot be read.
        error: The reason why the row cannot be read.
        kept: Line of results that an earlier run wrote.
        passes: True if the result repeats the columns of the row.
    """

    line: Line
    digest: str
    read: ReadRow | None = None
    error: InputError | None = None
    kept: bytes | None = None
    passes: bool = False

    @property
    def samples(self) -> Sequence[Sample]:
        """The samples to score."""
        return self.read.samples if self.read else ()

    @property
    def unread(self) -> Sequence[str]:
        """The names of the columns that no sample is made of."""
        return self.read.unread if self.read else ()


@dataclass(frozen=True, slots=True)
class RowReader:
    """Reads the rows of a run.

    Attributes:
        settings: Digest of the settings that rewards depend on.
        form: The name of the form of all rows; None to recognize it.
        columns: The only columns to read; None for those of the form.
        passes: True if results repeat the columns of their rows.
        layout: The layout that all rows must have; None if each may have its own.
        compares: True if a judge compares the responses of each row.
    """

    settings: bytes = b""
    form: str | None = None
    columns: Columns | None = None
    passes: bool = True
    layout: OneLayout | None = None
    compares: bool = False

    def digest(self, line: Line) -> str:
        """Return the digest that binds a result to its row and to the settings."""
        hashed = hashlib.blake2b(line.content, key=self.settings, digest_size=_DIGEST_BYTES)
        if self.form is not None or self.columns is not None:
            hashed.update(repr((self.form, self.columns)).encode())
        return hashed.hexdigest()

    def read(self, line: Line, digest: str = "") -> Row:
        """Parse a line. An invalid row has its error."""
        passes = False
        try:
            given = values_of(line)
            refuse_clash(given, (*RESULTS, *_OWN) if self.passes else RESULTS)
            passes = self.passes
            read = read_row(given, self.form, self.columns)
            if self.compares:
                read = as_contest(read)
            if self.layout is not None:
                self.layout.check(read.layout)
            return Row(line, digest, read, passes=passes)
        except InputError as error:
            return Row(line, digest, error=error, passes=passes)

    def note(self, result: Mapping[str, object]) -> None:
        """Take note of the result of an earlier run."""
        if self.layout is not None:
            self.layout.note(result)


def line_start(position: int) -> bytes:
    """Return the first bytes of a row's result."""
    return b'{"row":%d,' % position


def result_of(row: Row, outcomes: Sequence[Reward | RewardClientError]) -> dict[str, object]:
    """Return the added columns of a row that is not kept."""
    if row.read is None:
        return {
            "reward": None,
            "error": error_object(row.error or InputError("The row has no samples.")),
        }
    return result_columns(row.read.form, row.read.layout, outcomes)


def result_line(row: Row, result: Mapping[str, object]) -> bytes:
    """Format the result of a row, after the columns of the row as they were written."""
    columns = row.line.content[1:-1].strip() if row.passes else b""
    rest = orjson.dumps({**result, "digest": row.digest})[1:]
    return line_start(row.line.position) + columns + (b"," if columns else b"") + rest + b"\n"


def passing_columns(line: Line) -> Mapping[str, object]:
    """Return the columns of a line that pass through: none of a line that cannot be read."""
    try:
        values = values_of(line)
        refuse_clash(values)
    except InputError:
        return {}
    return values


def values_of(line: Line) -> Mapping[str, object]:
    """Return the columns of a line.

    Raises:
        InputError: If it cannot be read as a row.
    """
    if line.refusal is not None:
        raise InputError(f"Cannot read the line: {line.refusal}.")
    if line.values is not None:
        return line.values
    try:
        given = as_mapping(parse_json(line.content))
    except RepeatedKeyError as error:
        raise InputError(
            f"Cannot read the line: {error}. Its values may differ: remove one."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"Cannot read the line: it is not JSON ({error}).") from error
    if given is None:
        raise InputError("Cannot read the line: it is not a JSON object.")
    return given
