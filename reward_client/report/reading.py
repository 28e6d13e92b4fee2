"""Read the rows of a scored file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson

from reward_client._rows.scored import ScoredRow
from reward_client.errors import FileError, InputError
from reward_client.files.groups import with_column
from reward_client.files.inputs.line import Line
from reward_client.files.inputs.source import Source
from reward_client.files.scored import scored_columns


class ScoredFile:
    """The rows of a scored file, for one iteration.

    Args:
        source: The file.
        by: The column that one of the first rows must have; None for no such column.

    Attributes:
        is_torn: True if the last line was left out, since a stopped run wrote a part of it.

    Raises:
        InputError: If none of the first rows has the column.
    """

    def __init__(self, source: Source, by: str | None) -> None:
        self._name = source.name
        self._lines = with_column(source.lines(), by)
        self.is_torn = False

    def __iter__(self) -> Iterator[ScoredRow]:
        """Iterate over the rows.

        Raises:
            FileError: If the file cannot be read, has no rows, or holds anything but results.
        """
        torn, rows = None, 0
        for line in self._lines:
            if torn is not None:
                raise torn
            try:
                columns = scored_columns(line)
            except InputError as error:
                torn = self._refusal(line, "cannot be read")
                if not isinstance(error.__cause__, orjson.JSONDecodeError):
                    raise torn from error
                continue
            rows += 1
            yield ScoredRow(self._checked(line, columns))
        self.is_torn = torn is not None
        if not rows:
            raise torn or FileError(f"Cannot report on {self._name}: it has no rows.")

    def _checked(self, line: Line, columns: Mapping[str, object]) -> Mapping[str, object]:
        if "reward" not in columns or not {"form", "error"} & columns.keys():
            raise self._refusal(line, "has no reward")
        return columns

    def _refusal(self, line: Line, reason: str) -> FileError:
        return FileError(
            f"Cannot report on {self._name}: its row {line.position} {reason}, so that it is no "
            "file of results. Score it first (reward-client score), and name the output."
        )
