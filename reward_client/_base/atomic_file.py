"""Write files and folders so that readers see the old content or the new, even after a crash."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)  # Windows does not define it


def write_atomically(path: Path, content: bytes) -> None:
    """Write a whole file, or leave the old one as it is.

    Raises:
        OSError: If the file cannot be written.
    """
    # A name of its own, and never a file that exists: it could be somebody else's.
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC, 0o666)
    try:
        try:
            write_all(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        replace_file(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def replace_file(new: Path, old: Path) -> None:
    """Move a file to the place of another one, in a single durable step.

    Raises:
        OSError: If the file cannot be moved.
    """
    new.replace(old)
    sync_path(old.parent)


def write_all(descriptor: int, content: bytes | bytearray) -> None:
    """Write all bytes; a single ``os.write`` may write only some of them."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_path(path: Path) -> None:
    """Flush a file, or the names in a folder, to disk, so that it survives a power failure.

    Raises:
        OSError: If the system cannot flush folders.
    """
    descriptor = os.open(path, os.O_RDONLY | _CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(descriptor: int) -> None:
    """Lock an open file or folder until its descriptor is closed or the process ends.

    Windows has no such lock; there, nothing is locked.

    Raises:
        BlockingIOError: If another process holds the lock.
        OSError: If the file system does not support locks.
    """
    if sys.platform != "win32":
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
