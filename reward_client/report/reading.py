"""Read the rows of a scored file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson

from reward_client._base.json_values import as_mapping
from reward_client._rows.scored import ScoredRow
from reward_client.errors import FileError
from reward_client.files.groups import with_column
from reward_client.files.reader import Line, Source


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
        self._path = source.path
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
                content = orjson.loads(line.content)
            except orjson.JSONDecodeError:
                torn = self._refusal(line, "is not JSON" if line.is_whole else "is too long")
                continue
            rows += 1
            yield ScoredRow(self._columns(line, content))
        self.is_torn = torn is not None
        if not rows:
            raise torn or FileError(f"Cannot report on {self._path}: it has no rows.")

    def _columns(self, line: Line, content: object) -> Mapping[str, object]:
        columns = as_mapping(content)
        if columns is None or "reward" not in columns or not {"form", "error"} & columns.keys():
            raise self._refusal(line, "has no reward")
        return columns

    def _refusal(self, line: Line, reason: str) -> FileError:
        return FileError(
            f"Cannot report on {self._path}: its row {line.position} {reason}, so that it is no "
            "file of results. Score it first (reward-client score), and name the output."
        )
