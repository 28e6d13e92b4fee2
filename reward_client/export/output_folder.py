"""The folder that is written: whole or not there, and never in the place of anything else."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from reward_client.errors import ExportError

if sys.platform != "win32":
    import fcntl


MANIFEST = "reward_client.json"
"""The file by which an exported folder is known."""


@contextmanager
def new_folder(destination: Path, *, force: bool) -> Generator[Path]:
    """A folder beside the destination, which becomes the destination when all is well.

    Whatever ends it otherwise, Ctrl-C too, leaves nothing of it, and the destination as it was.

    Raises:
        ExportError: There is something already, or it cannot be written.
    """
    unfinished = destination.with_name(f".{destination.name}.unfinished")
    replaced = destination.with_name(f".{destination.name}.replaced")
    with ExitStack() as stack:
        try:
            _refuse_unfinished(unfinished, force=force)
            if replaced.exists() and not destination.exists():  # cut off between two renames
                replaced.rename(destination)
            _refuse_what_is_there(destination, force=force)
            destination.parent.mkdir(parents=True, exist_ok=True)
            unfinished.mkdir()
            stack.enter_context(_held(unfinished))
        except OSError as error:
            raise ExportError(f"{destination} cannot be written: {error.strerror}.") from error
        try:
            yield unfinished
            _refuse_what_is_there(destination, force=force)  # much later, maybe
            _publish(unfinished, destination, replaced)
        except BaseException as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if isinstance(error, OSError):
                raise ExportError(
                    f"{destination} cannot be written: {error.strerror}. Nothing is left of it."
                ) from error
            raise
    shutil.rmtree(replaced, ignore_errors=True)


def _refuse_what_is_there(destination: Path, *, force: bool) -> None:
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise ExportError(f"{destination} is there already, and is no folder.")
    if destination.is_mount():
        raise ExportError(f"{destination} is a mount point: name a folder within it.")
    if destination.is_dir() and any(destination.iterdir()):
        # A manifest alone may have been copied to where a client needs it.
        if not all((destination / name).is_file() for name in (MANIFEST, "modules.json")):
            raise ExportError(
                f"{destination} is there already, and is no exported checkpoint: it is left alone."
            )
        if not force:
            raise ExportError(
                f"{destination} is an exported checkpoint already: --force (force=True) replaces "
                "it."
            )


def _refuse_unfinished(unfinished: Path, *, force: bool) -> None:
    if not unfinished.exists():
        return
    with _held(unfinished):
        if not force:
            raise ExportError(
                f"{unfinished} is left of an export that was cut off: remove it, or replace it by "
                "--force (force=True)."
            )
        shutil.rmtree(unfinished)


@contextmanager
def _held(folder: Path) -> Generator[None]:
    """Keeps other processes from a folder; nothing is left of it when this one is killed.

    Raises:
        ExportError: Another one has it.
    """
    if sys.platform == "win32":  # folders cannot be locked there
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # nor on some file systems
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ExportError(f"{folder} is being written by another export.") from error
        yield
    finally:
        os.close(descriptor)


def _publish(unfinished: Path, destination: Path, replaced: Path) -> None:
    for folder in (*(path for path in unfinished.rglob("*") if path.is_dir()), unfinished):
        _sync(folder)
    try:
        if destination.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            destination.rename(replaced)
        unfinished.rename(destination)
    except BaseException:
        if replaced.exists() and not destination.exists():
            replaced.rename(destination)
        raise
    _sync(destination.parent)


def _sync(folder: Path) -> None:
    """Has the names in a folder outlive a power failure, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
