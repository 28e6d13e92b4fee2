"""Read the rows of the input file, line by line."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, cast

from reward_client.errors import FileError

_MAX_LINE_BYTES = 32 << 20
"""A file without line breaks must not be read into memory as one row."""
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """A non-blank line of the input file.

    Attributes:
        position: Index of the row; blank lines do not count.
        content: Bytes of the row without the line break. A line that is too long is cut.
        is_whole: False if the line was cut.
        end: Bytes read from the file so far; for a gzip file, compressed bytes.
    """

    position: int
    content: bytes
    is_whole: bool
    end: int


class Source:
    """A file of JSON lines, plain or compressed with gzip. Use it as a context manager.

    Attributes:
        path: Path of the file.
        size: Size in bytes; None for a pipe and for an empty file.

    Raises:
        FileError: If the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._raw = path.open("rb")
            size = os.fstat(self._raw.fileno()).st_size
            is_gzip = self._raw.peek(len(_GZIP)).startswith(_GZIP)
        except (OSError, ValueError) as error:  # ValueError: an impossible file name
            raise self._unreadable(error) from error
        self.size = size or None
        self._file: BinaryIO = (
            cast("BinaryIO", gzip.GzipFile(fileobj=self._raw)) if is_gzip else self._raw
        )

    def lines(self) -> Iterator[Line]:
        """Iterate over the rows.

        Raises:
            FileError: If the file cannot be read.
        """
        position = 0
        try:
            while content := self._file.readline(_MAX_LINE_BYTES):
                is_whole = len(content) < _MAX_LINE_BYTES or content.endswith(b"\n")
                rest = content
                while rest and not rest.endswith(b"\n"):
                    rest = self._file.readline(_MAX_LINE_BYTES)
                if position == 0:
                    content = content.removeprefix(_BOM)
                stripped = content.strip(b" \t\r\n")
                if stripped:
                    yield Line(position, stripped, is_whole, self._bytes_read())
                    position += 1
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def _bytes_read(self) -> int:
        return 0 if self.size is None else self._raw.tell()

    def _unreadable(self, error: Exception) -> FileError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return FileError(f"Cannot read {self.path}: {reason}.")
