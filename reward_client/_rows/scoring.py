"""Rows of a caller on their way through a client."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike

from reward_client._base.choices import check_choice
from reward_client._base.json_values import as_mapping, as_sequence
from reward_client._base.samples import Sample
from reward_client._base.wording import describe_type
from reward_client._rows.contests import as_contest
from reward_client._rows.copying import copied
from reward_client._rows.errors import error_object
from reward_client._rows.forms import FORMS, Columns, ReadRow, read_row
from reward_client._rows.grouping import Outcome
from reward_client._rows.layout import OneLayout
from reward_client._rows.results import added_names, refuse_clash, result_columns
from reward_client._rows.tables import Values
from reward_client.errors import InputError


@dataclass(frozen=True, slots=True)
class RowInProgress:
    """A row of a caller.

    Attributes:
        given: The row.
        read: Its samples; None if it cannot be read.
        error: The reason why it cannot be read.
    """

    given: Mapping[str, object]
    read: ReadRow | None
    error: InputError | None

    @property
    def samples(self) -> Sequence[Sample]:
        """The samples to score."""
        return self.read.samples if self.read else ()

    def added(self, outcomes: Sequence[Outcome]) -> dict[str, object]:
        """Return the columns to add, from the outcomes of the samples."""
        if self.read is None:
            assert self.error is not None  # noqa: S101 - one of the two is set
            return {"form": None, "reward": None, "error": error_object(self.error)}
        return {"error": None, **result_columns(self.read.form, self.read.layout, outcomes)}

    def result(self, outcomes: Sequence[Outcome]) -> dict[str, object]:
        """Return the row with the added columns."""
        return {**self.given, **self.added(outcomes)}


def check_options(form: str | None, columns: Columns | None) -> None:
    """Check the options of rows.

    Raises:
        InputError: If one is invalid.
    """
    if form is not None:
        check_choice("form", form, tuple(FORMS))
    if columns is None:
        return
    mapping, sequence = as_mapping(columns), as_sequence(columns)
    texts = [*mapping, *mapping.values()] if mapping is not None else sequence
    if not texts or not all(isinstance(text, str) for text in texts):
        raise InputError(
            "columns= must be a list of names, or a dict of names by the names that a form has, "
            f'such as {{"prompt": "question"}}, not {describe_type(columns)}.'
        )


def rows_in_progress(
    rows: Iterable[Mapping[str, object]],
    form: str | None,
    columns: Columns | None,
    *,
    compares: bool,
    copies: bool,
    refuses_first: bool = True,
    layout: OneLayout | None = None,
) -> Iterator[RowInProgress]:
    """Read rows.

    Args:
        rows: The rows.
        form: The name of their form; None to recognize it.
        columns: The only columns to read.
        compares: True if a judge compares the responses of each row.
        copies: True to copy lists and dicts in the rows: reading the next row may change them.
        refuses_first: False if the first row may be unreadable, as any other.
        layout: The layout that all rows must have; None if each may have its own.

    Raises:
        InputError: If the first row cannot be read, and ``refuses_first`` is True: the others are
            most likely like it.
    """
    for position, row in enumerate(rows):
        read = _read(row, form, columns, layout, compares=compares, copies=copies)
        if position == 0 and refuses_first and read.error is not None:
            raise read.error
        yield read


def refuse_other_than_rows(rows: object) -> None:
    """Refuse one row in the place of many, and anything without rows.

    Raises:
        InputError: If it is one.
    """
    if isinstance(rows, Mapping):
        raise InputError("Many rows are expected, but this is a single one. Write [row].")
    if isinstance(rows, str | bytes | PathLike):
        raise InputError(
            "Rows are expected, not a path. Write score_file(client, path, destination) of "
            "reward_client.files, or `reward-client score`."
        )
    if not isinstance(rows, Iterable):
        raise InputError(f"An iterable of rows is expected, not {describe_type(rows)}.")


def _read(
    row: object,
    form: str | None,
    columns: Columns | None,
    layout: OneLayout | None,
    *,
    compares: bool,
    copies: bool,
) -> RowInProgress:
    mapping = as_mapping(row)
    if mapping is None:
        error = InputError(f"A row is a mapping of columns, not {describe_type(row)}.")
        return RowInProgress({}, None, error)
    given = dict(mapping)  # the caller may change the row before its rewards are known
    if copies:
        given = copied(given)
    try:
        refuse_clash(given)
        read = read_row(given, form, columns)
        if compares:
            read = as_contest(read)
        if layout is not None:
            layout.check(read.layout)
        return RowInProgress(given, read, None)
    except InputError as error:
        return RowInProgress(given, None, error)


class Rows:
    """All rows of one call: their samples in one stream, and the columns to add.

    Args:
        rows: The rows in progress.
        keeps_given: True if `results` is needed.
    """

    def __init__(self, rows: Iterator[RowInProgress], *, keeps_given: bool) -> None:
        self._rows = rows
        self._keeps_given = keeps_given
        self._read: list[RowInProgress] = []
        self._counts = array("I")

    def samples(self) -> Iterator[Sample]:
        """Iterate over the samples of all rows."""
        for row in self._rows:
            samples = row.samples
            self._counts.append(len(samples))
            # The samples are copies of the row, and not needed any more.
            read = row.read and ReadRow(row.read.form, (), row.read.layout, ())
            given: Mapping[str, object] = row.given if self._keeps_given else {}
            self._read.append(RowInProgress(given, read, row.error))
            yield from samples

    def added(self, outcomes: Sequence[Outcome]) -> Iterator[dict[str, object]]:
        """Iterate over the columns to add to each row, from the outcomes of all samples."""
        start = 0
        for row, count in zip(self._read, self._counts, strict=True):
            yield row.added(outcomes[start : start + count])
            start += count

    def results(self, outcomes: Sequence[Outcome]) -> list[dict[str, object]]:
        """Return the rows with the added columns."""
        added = zip(self._read, self.added(outcomes), strict=True)
        return [{**row.given, **columns} for row, columns in added]


def as_columns(results: Sequence[Mapping[str, object]], *, is_typed: bool) -> Values:
    """Return added columns as lists, without those that no row has.

    Args:
        results: The added columns of each row.
        is_typed: True if all values of a column must have one layout.
    """
    if is_typed:
        layout = OneLayout()
        for row in results:
            layout.note(row)
        results = [layout.laid(row) for row in results]
    return {name: [row.get(name) for row in results] for name in added_names(results)}
