"""The output file: complete lines, one writer, and no change to written lines."""

from __future__ import annotations

import os
import stat
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self

from reward_client._base.atomic_file import lock, write_all
from reward_client.errors import FileError
from reward_client.files.rows import line_start

_BUFFER_BYTES = 1 << 20
_SYNC_SECONDS = 1.0
"""Minimum time between two flushes to disk."""
RESUME = " All written results are kept: fix the cause and run the same command again to resume."


class Lines(ABC):
    """Lines of results, each for one row. They are collected until `flush`.

    A call of the system for each line lets another thread run, which takes longer than the rest of
    the work for a row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting = bytearray()

    def append(self, line: bytes) -> None:
        """Append a line.

        Raises:
            FileError: If lines cannot be written.
        """
        self._waiting += line
        if len(self._waiting) >= _BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand all lines to the operating system, so that a killed process loses none of them.

        Raises:
            FileError: If they cannot be written.
        """
        if self._waiting:
            waiting, self._waiting = self._waiting, bytearray()
            self._write(waiting)

    @abstractmethod
    def _write(self, lines: bytearray) -> None: ...

    @abstractmethod
    def whole_lines(self) -> Iterator[bytes]:
        """Iterate over the complete lines of earlier runs."""

    @abstractmethod
    def cut(self, row: int) -> str:
        """Remove the results from a row on; say what has become of them."""


class Results(Lines):
    """Lines in a locked file, to which they are only appended.

    The file is flushed to disk at most once a second, and at the end.

    Raises:
        FileError: If the file cannot be opened or locked, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._descriptor, self._is_new = _open_locked(path)
        self._synced = time.monotonic()

    def whole_lines(self) -> Iterator[bytes]:
        """Iterate over the complete lines, then cut off an incomplete last line.

        Raises:
            FileError: If the file cannot be read, or if the last line is not part of a result.
        """
        end = position = 0
        with file_errors(self.path), self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    self._check_incomplete(line, position)
                    break
                yield line
                end += len(line)
                position += 1
            os.ftruncate(self._descriptor, end)

    def _write(self, lines: bytearray) -> None:
        with file_errors(self.path, RESUME):
            write_all(self._descriptor, lines)
            if time.monotonic() - self._synced >= _SYNC_SECONDS:
                self.sync()

    def cut(self, row: int) -> str:
        """Remove the results from a row on; say so.

        Raises:
            FileError: If the file cannot be read or shortened.
        """
        self.flush()
        with file_errors(self.path), self.path.open("rb") as file:
            os.ftruncate(self._descriptor, sum(map(len, islice(file, row))))
        return f"The results from row {row} on are removed; those before are proven"

    def sync(self) -> None:
        """Flush all written lines to disk."""
        with file_errors(self.path):
            os.fsync(self._descriptor)
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    @contextmanager
    def preparing(self) -> Generator[None]:
        """Remove the file again if the run cannot begin, unless there was one before."""
        try:
            yield
        except BaseException:
            if self._is_new:
                with suppress(OSError):
                    self.path.unlink()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self.sync()
        finally:
            os.close(self._descriptor)

    def _check_incomplete(self, line: bytes, position: int) -> None:
        """Refuse to cut off a line that no earlier run can have written."""
        start = line_start(position)
        written = line.rstrip(b"\0")  # a file system may extend a file before it writes the bytes
        if written[: len(start)] != start[: len(written)]:
            raise FileError(
                f"Cannot resume {self.path}: its last line is not a result, so it is not a file of "
                "results. Choose another output."
            )


class Stream(Lines):
    """Lines in a stream, which begins empty.

    Attributes:
        has_begun: True once the stream may hold a part of a line.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(Path("-"))
        self._stream = stream
        self._written = 0
        self.has_begun = False

    def whole_lines(self) -> Iterator[bytes]:
        """Iterate over the lines of earlier runs: none."""
        return iter(())

    def _write(self, lines: bytearray) -> None:
        self.has_begun = True  # first: Ctrl-C may come right behind the bytes
        try:
            self._stream.write(lines)
            self._stream.flush()
        except OSError as error:
            ended = isinstance(error, BrokenPipeError)
            reason = "its reader has ended" if ended else error.strerror or error
            raise FileError(
                f"Cannot write row {self._written:,} and those after it to stdout: {reason}."
            ) from error
        self._written += lines.count(b"\n")

    def cut(self, row: int) -> str:
        """Say which results are in doubt: they cannot be taken back."""
        return f"The results from row {row} on are in doubt; those before are proven"


def real_path(path: Path) -> Path:
    """Resolve links, so that the file itself can be replaced and not a link to it.

    Raises:
        FileError: If the path cannot be resolved.
    """
    with file_errors(path):
        return path.resolve()


def retry_path(results: Path) -> Path:
    """Return the path of the results of a retry, which replace a file of results at the end."""
    return results.with_name(f"{results.name}.retry")


def is_empty(path: Path) -> bool:
    """Return True if a file is empty or does not exist.

    Raises:
        FileError: If the path cannot be examined, or is not a regular file.
    """
    with file_errors(path):
        try:
            status = path.stat()
        except FileNotFoundError:
            if not path.parent.is_dir():
                raise FileError(
                    f"Cannot write {path}: the folder {path.parent} does not exist. Create it."
                ) from None
            return True
    if not stat.S_ISREG(status.st_mode):
        raise FileError(
            f"Cannot write results to {path}: it is not a regular file. Choose another output."
        )
    return status.st_size == 0


def _open_locked(path: Path) -> tuple[int, bool]:
    """Open and lock the file that currently has this name.

    Returns:
        Its descriptor, and True if it is a new file.
    """
    is_empty(path)
    with file_errors(path):
        while True:
            descriptor, is_new = _open(path)
            try:
                lock(descriptor)
                with suppress(FileNotFoundError):
                    if os.path.samestat(os.fstat(descriptor), path.stat()):
                        return descriptor, is_new
            except BlockingIOError as error:
                os.close(descriptor)
                raise FileError(
                    f"Cannot write {path}: another process is writing it. Wait for its end, or "
                    "choose another output."
                ) from error
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # the process that held the lock has just replaced or removed it


def _open(path: Path) -> tuple[int, bool]:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with suppress(FileExistsError):
        return os.open(path, flags | os.O_EXCL, 0o666), True
    return os.open(path, flags, 0o666), False


@contextmanager
def file_errors(path: Path, hint: str = "") -> Generator[None]:
    """Raise errors of the operating system as `FileError`."""
    try:
        yield
    # ValueError: an impossible file name. RuntimeError: a loop of links.
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise FileError(f"Cannot access {path}: {reason}.{hint}") from error
