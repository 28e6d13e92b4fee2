"""Open files for reading whose kind nobody has checked."""

from __future__ import annotations

import errno
import os
import stat
from os import PathLike
from typing import BinaryIO

# Without O_NONBLOCK, a pipe waits for a writer.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)  # for Windows
)


def open_regular(path: str | PathLike[str]) -> BinaryIO:
    """Open a regular file for reading: reading a pipe or a device may never end.

    Raises:
        OSError: If the file cannot be opened, or is a pipe, a device or another special file.
        ValueError: If the name of the file is impossible.
    """
    descriptor = os.open(path, _FLAGS)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
