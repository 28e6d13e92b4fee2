"""A row of the input, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reward_client.errors import FileError

MAX_ROW_BYTES = 32 << 20
"""A file without line breaks must not be read into memory as one row."""


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the input.

    Attributes:
        position: Index of the row, from 0; blank lines do not count.
        content: The row as a JSON object in one line, without the line break.
        end: Bytes read from the input so far; of a compressed file, compressed bytes.
        values: The columns, if the format has typed ones. Otherwise None: ``content`` is all.
        refusal: The reason why the row cannot be read; None if nothing is wrong so far.
    """

    position: int
    content: bytes
    end: int
    values: Mapping[str, object] | None = None
    refusal: str | None = None

    def after(self, rows: int, end: int) -> Line:
        """Return the line behind the rows and bytes of earlier files."""
        return Line(rows + self.position, self.content, end + self.end, self.values, self.refusal)


class Reader(Protocol):
    """An open file of one format."""

    def lines(self) -> Iterator[Line]:
        """Iterate over the rows. Positions and ends begin at 0.

        Raises:
            FileError: If the file cannot be read.
        """
        ...


class Table(Reader, Protocol):
    """An open file with typed columns, in the objects of pyarrow, which is untyped."""

    @property
    def schema(self) -> Any:
        """The `pyarrow.Schema`."""
        ...

    def batches(self) -> Iterator[Any]:
        """Iterate over the rows as ``pyarrow.RecordBatch``.

        Raises:
            FileError: If the file cannot be read.
        """
        ...


Progress = Callable[[int], int]
"""Returns the bytes that were read from a file, from those that its reader took by now."""


def unreadable(path: Path, error: Exception) -> FileError:
    """Return the error of a file that cannot be read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return FileError(f"Cannot read {path}: {str(reason).rstrip('.')}.")
