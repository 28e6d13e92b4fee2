"""The end of a run in which every row fails alike."""

from __future__ import annotations

from reward_client._client.failures import fault_of
from reward_client._rows.scored import ScoredRow
from reward_client.errors import FileError

_FIRST = 100
"""Rows at the start of a file: if all of them fail alike, the others would too."""
_LATER = 10_000
"""Rows anywhere, which fail by a fault of the server: more than one outage can reach."""


class Repetition:
    """Counts rows in succession that failed alike: without any reward, by errors of one type.

    Args:
        source: The input in words.
        resumes: False for an output that cannot be resumed.
    """

    def __init__(self, source: str, *, resumes: bool = True) -> None:
        self._source = source
        self._resumes = resumes
        self._type = ""
        self._count = 0
        self._reason = ""

    def check(self, row: ScoredRow, rows: int) -> None:
        """Take note of a new row.

        Args:
            row: The row with its result.
            rows: Number of rows so far, including this row and earlier runs.

        Raises:
            FileError: If all other rows would fail like the last ones.
        """
        errors = row.errors()
        first = errors[0] if errors else None
        if first is None or None in errors:
            self._type, self._count = "", 0
            return
        if first.type != self._type:
            self._type, self._count, self._reason = first.type, 0, first.message
        self._count += 1
        if self._count == rows == _FIRST:
            self._stop(f"its first {_FIRST} rows failed alike")
        if self._count == _LATER and fault_of(self._type) == "server":
            self._stop(f"{_LATER:,} rows in succession failed alike")

    def _stop(self, what: str) -> None:
        again = "write into a file"
        if self._resumes:
            retry = " with --retry-failed" if fault_of(self._type) == "server" else ""
            again = f"run the same command again{retry}"
        raise FileError(
            f"Cannot score {self._source}: {what}. {self._type}: {self._reason} Remove the cause. "
            f"All results are kept; to score the remaining rows nevertheless, {again}."
        )
