"""Calls with rows: what both clients do before and after the samples are scored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from reward_client._base.contest import comparisons_of
from reward_client._base.results import Reward, ScoreResult
from reward_client._base.samples import Sample
from reward_client._client.failures import warn_of_failures
from reward_client._rows.forms import Columns
from reward_client._rows.grouping import Grouping
from reward_client._rows.layout import OneLayout
from reward_client._rows.scoring import (
    RowInProgress,
    Rows,
    as_columns,
    check_options,
    refuse_other_than_rows,
    rows_in_progress,
)
from reward_client._rows.tables import AnyTable, Library, library_of
from reward_client.errors import RewardClientError


class RowsCall:
    """The rows of one call, which are all in memory.

    Args:
        rows: The rows, or a table of them.
        form: The name of their form; None to recognize it.
        columns: The only columns to read.
        compares: True if a judge compares the responses of each row.
        refuses_first: False if the first row may be unreadable, as any other.
        layout: The layout that all rows must have; None for that of a table, or for any.

    Raises:
        InputError: If an option is invalid, or these are no rows.
    """

    def __init__(
        self,
        rows: Iterable[Mapping[str, object]] | AnyTable,
        form: str | None,
        columns: Columns | None,
        *,
        compares: bool,
        refuses_first: bool = True,
        layout: OneLayout | None = None,
    ) -> None:
        check_options(form, columns)
        self._table = rows
        self._library = library_of(rows)
        if self._library is None:
            refuse_other_than_rows(rows)
            each = cast("Iterable[Mapping[str, object]]", rows)
        else:
            each = self._library.rows(rows)
            if self._library.is_typed:
                layout = OneLayout()
        reading = rows_in_progress(
            each,
            form,
            columns,
            compares=compares,
            copies=_may_change(rows, self._library),
            refuses_first=refuses_first,
            layout=layout,
        )
        self._compares = compares
        self._rows = Rows(reading, keeps_given=self._library is None)

    def samples(self) -> Iterator[Sample]:
        """Iterate over the samples of all rows."""
        return self._rows.samples()

    def results(
        self, outcomes: Sequence[Reward | RewardClientError]
    ) -> list[dict[str, object]] | AnyTable:
        """Return the rows with the added columns, as they were given: a list or a table."""
        if self._compares:
            total, failed = comparisons_of(outcomes)
            warn_of_failures(failed, total, "comparisons")
        if self._library is None:
            return self._rows.results(outcomes)
        columns = as_columns(self.added(outcomes), is_typed=self._library.is_typed)
        return cast("AnyTable", self._library.extended(self._table, columns))

    def added(self, outcomes: Sequence[Reward | RewardClientError]) -> list[dict[str, object]]:
        """Return the added columns of each row."""
        return [*self._rows.added(outcomes)]


def stream_of_rows(
    rows: Iterable[Mapping[str, object]],
    form: str | None,
    columns: Columns | None,
    *,
    compares: bool,
) -> Grouping[RowInProgress]:
    """Return rows as a stream. `RowsCall` explains the arguments.

    Raises:
        InputError: If an option is invalid, or these are no rows.
    """
    check_options(form, columns)
    library = library_of(rows)
    if library is None:
        refuse_other_than_rows(rows)
    each = rows if library is None else library.rows(rows)
    copies = _may_change(rows, library)
    return Grouping(rows_in_progress(each, form, columns, compares=compares, copies=copies))


def _may_change(rows: object, library: Library | None) -> bool:
    """Return True if reading a row may change those before: an iterator may reuse its objects."""
    return library is None and not isinstance(rows, Sequence)


def outcome_of(result: ScoreResult) -> Reward | RewardClientError:
    """Return the reward or the error of a result."""
    outcome = result.error if result.reward is None else result.reward
    assert outcome is not None  # noqa: S101 - one of the two is set
    return outcome
