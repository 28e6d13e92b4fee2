"""The file to be scored, read line by line."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, cast

from reward_client.errors import FileError

_LONGEST = 32 << 20
"""Bytes of a line. A file without line ends must not be read into memory as one row."""
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the file, as it is written there.

    Attributes:
        position: How many rows there are before it; blank lines are none.
        content: Its bytes, without the line's end; of a line that is too long, the first ones.
        is_whole: Whether these are all.
        end: How many bytes of the file had been read with it, compressed ones if it is.
    """

    position: int
    content: bytes
    is_whole: bool
    end: int


class Source:
    """A file of JSON lines, plain or compressed by gzip; a context manager.

    Attributes:
        path: Where it is.
        size: Its bytes, or None for what has no size, such as a pipe.

    Raises:
        FileError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._raw = path.open("rb")
            size = os.fstat(self._raw.fileno()).st_size
            is_gzip = self._raw.peek(len(_GZIP)).startswith(_GZIP)
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            raise self._unreadable(error) from error
        self.size = size or None
        self._file: BinaryIO = (
            cast("BinaryIO", gzip.GzipFile(fileobj=self._raw)) if is_gzip else self._raw
        )

    def lines(self) -> Iterator[Line]:
        """The rows, one after the other.

        Raises:
            FileError: The file cannot be read on.
        """
        position = 0
        try:
            while content := self._file.readline(_LONGEST):
                is_whole = len(content) < _LONGEST or content.endswith(b"\n")
                rest = content
                while rest and not rest.endswith(b"\n"):
                    rest = self._file.readline(_LONGEST)
                if position == 0:
                    content = content.removeprefix(_BOM)
                stripped = content.strip(b" \t\r\n")
                if stripped:
                    yield Line(position, stripped, is_whole, self._read())
                    position += 1
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def _read(self) -> int:
        return 0 if self.size is None else self._raw.tell()

    def _unreadable(self, error: Exception) -> FileError:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        return FileError(f"{self.path} cannot be read: {why}.")
