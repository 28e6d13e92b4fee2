"""The file of results: whole lines only, one writer, what is written stays."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from reward_client.errors import FileError
from reward_client.files.rows import line_start

_SYNC_SECONDS = 1.0
"""How long a written line may wait until it is forced to disk: what a power failure may cost."""
_GO_ON = " What is written stays: mend that and run the same again, and it goes on from there."


class Results:
    """Lines of results, appended and never changed; locked while it is open.

    Every line goes to the operating system at once, so that killing the process loses none, and to
    the disk within a second of the next line, and at the end.

    Args:
        path: Where it is, or will be.

    Raises:
        FileError: It cannot be opened or locked, or is no regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = _locked(path)
        self._synced = time.monotonic()

    def whole_lines(self) -> Iterator[bytes]:
        """The lines that are there; then what follows the last whole one is dropped.

        Raises:
            FileError: It cannot be read, or what follows is not the start of a result.
        """
        end = position = 0
        with _complaints(self.path), self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    self._check_torn(line, position)
                    break
                yield line
                end += len(line)
                position += 1
            os.ftruncate(self._handle, end)

    def append(self, line: bytes) -> None:
        """Writes a line.

        Raises:
            FileError: It cannot be written.
        """
        with _complaints(self.path, _GO_ON):
            _write_all(self._handle, line)
            if time.monotonic() - self._synced >= _SYNC_SECONDS:
                self.sync()

    def sync(self) -> None:
        """Waits until all that is written is on the disk."""
        with _complaints(self.path):
            os.fsync(self._handle)
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.sync()
        finally:
            os.close(self._handle)

    def _check_torn(self, torn: bytes, position: int) -> None:
        """Refuses to drop what no run of ours has left."""
        start = line_start(position)
        written = torn.rstrip(b"\0")  # a file system may have come to extend it, and no further
        if written[: len(start)] != start[: len(written)]:
            raise FileError(
                f"The last line of {self.path} is neither a result nor a part of one: this is no "
                "file of results. Name another output."
            )


def real_path(path: Path) -> Path:
    """Where a file is behind links, so that another one can be put in its place.

    Raises:
        FileError: There is no such place.
    """
    with _complaints(path):
        return path.resolve()


def is_empty(path: Path) -> bool:
    """Whether there is nothing in a file, or no file.

    Raises:
        FileError: It cannot be looked at, or is no regular file.
    """
    with _complaints(path):
        try:
            found = path.stat()
        except FileNotFoundError:
            if not path.parent.is_dir():
                raise FileError(f"There is no folder {path.parent} to write to.") from None
            return True
    if not stat.S_ISREG(found.st_mode):
        raise FileError(f"{path} is no regular file: results cannot be continued there.")
    return found.st_size == 0


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is there as a whole, or not at all.

    Raises:
        FileError: It cannot be written.
    """
    new = path.with_name(f"{path.name}.new")
    with _complaints(path):
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        try:
            _write_all(handle, content)
            os.fsync(handle)
        finally:
            os.close(handle)
    replace_file(new, path)


def remove_file(path: Path) -> None:
    """Removes a file, if it is there.

    Raises:
        FileError: It cannot be removed.
    """
    with _complaints(path):
        path.unlink(missing_ok=True)


def replace_file(new: Path, old: Path) -> None:
    """Puts a file in the place of another; it is either there, also after a power failure.

    Raises:
        FileError: It cannot be done.
    """
    with _complaints(old):
        new.replace(old)
        folder = os.open(old.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _locked(path: Path) -> int:
    """A handle of the file that has the name now, which nobody else can lock."""
    is_empty(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with _complaints(path):
        while True:
            handle = os.open(path, flags, 0o666)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
            except BlockingIOError as error:
                os.close(handle)
                raise FileError(f"Another process is writing to {path}.") from error
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)  # its holder has just put another file in its place


def _write_all(handle: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]


@contextmanager
def _complaints(path: Path, hint: str = "") -> Generator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:  # a name that no file can have; a loop
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise FileError(f"{path}: {why}.{hint}") from error
