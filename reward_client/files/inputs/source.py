"""The input of a run: one file after the other."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from reward_client.files.inputs.folders import files_of
from reward_client.files.inputs.line import Line, Reader, unreadable
from reward_client.files.inputs.recognition import open_reader


class Source:
    """Files of rows. Use it as a context manager.

    Args:
        *paths: The files and folders, in their order.

    Attributes:
        paths: The files.
        name: The input in words, for errors.
        size: Size of all files in bytes; None for a pipe and for empty files.

    Raises:
        FileError: If a file cannot be opened, or has an unknown format.
        ImportError: If a format needs pyarrow, which is not installed.
    """

    def __init__(self, *paths: Path) -> None:
        self.paths: Sequence[Path] = [file for path in paths for file in files_of(path)]
        more = len(self.paths) - 1
        self.name = f"{self.paths[0]} and {more} more files" if more > 0 else str(self.paths[0])
        sizes = [_size(path) for path in self.paths]
        self.size = sum(size or 0 for size in sizes) or None
        self._sizes = sizes
        self._stack = ExitStack()
        for path, size in zip(self.paths[1:], sizes[1:], strict=True):
            if size is not None:  # a pipe can be opened once only
                with open_reader(path):
                    pass
        self._first: Reader | None = self._stack.enter_context(open_reader(self.paths[0]))

    @property
    def is_repeatable(self) -> bool:
        """True if the rows can be read twice."""
        return None not in self._sizes

    def lines(self) -> Iterator[Line]:
        """Iterate over the rows of all files.

        Raises:
            FileError: If a file cannot be read.
        """
        position = end = 0
        for reader, size in zip(self.readers(), self._sizes, strict=True):
            line = None
            for line in reader.lines():
                yield line.after(position, end)
            position += line.position + 1 if line else 0
            end += size or 0

    def readers(self) -> Iterator[Reader]:
        """Iterate over the files, each open until the next one is asked for.

        Raises:
            FileError: If a file cannot be opened.
        """
        for path in self.paths:
            reader, self._first = self._first, None
            if reader is None:
                self._stack.close()
                reader = self._stack.enter_context(open_reader(path))
            yield reader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _size(path: Path) -> int | None:
    """Return the size of a file; None for a pipe.

    Raises:
        FileError: If there is no such file.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None
