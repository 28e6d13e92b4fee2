"""The destination folder: it appears as a whole, and never replaces anything but an export."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeAlias

from reward_client._base.atomic_file import lock, sync_path
from reward_client.errors import ExportError
from reward_client.export.checkpoint import Shard

Link: TypeAlias = Literal["hard", "symbolic", "copy"]

MANIFEST = "reward_client.json"
"""The recipe of an exported folder."""
# The manifest alone does not prove an export: users copy it to their clients.
_MARKS = (MANIFEST, "modules.json")

_RESERVE = 64 << 20
"""Bytes that stay free on the disk."""


@contextmanager
def new_folder(destination: Path, *, force: bool, marks: Sequence[str] = _MARKS) -> Generator[Path]:
    """Create a folder beside the destination, and rename it to the destination at the end.

    After any error, including Ctrl-C, the new folder is removed and the destination is unchanged.

    Args:
        destination: The folder to write.
        force: Replace an earlier export.
        marks: The files that identify an earlier export.

    Raises:
        ExportError: If the destination exists already, or cannot be written.
    """
    unfinished = destination.with_name(f".{destination.name}.unfinished")
    replaced = destination.with_name(f".{destination.name}.replaced")
    with ExitStack() as stack:
        try:
            _remove_unfinished(unfinished, force=force)
            if replaced.exists() and not destination.exists():  # killed between the two renames
                replaced.rename(destination)
            _check_destination(destination, marks, force=force)
            destination.parent.mkdir(parents=True, exist_ok=True)
            unfinished.mkdir()
            stack.enter_context(_locked(unfinished))
        except OSError as error:
            raise ExportError(f"Cannot write {destination}: {error.strerror}.") from error
        try:
            yield unfinished
            _check_destination(
                destination, marks, force=force
            )  # again, because an export may take long
            _publish(unfinished, destination, replaced)
        except BaseException as error:
            shutil.rmtree(unfinished, ignore_errors=True)
            if isinstance(error, OSError):
                raise ExportError(
                    f"Cannot write {destination}: {error.strerror}. The incomplete export was "
                    "removed."
                ) from error
            raise
    shutil.rmtree(replaced, ignore_errors=True)


def can_link(shard: Shard, link: Link, destination: Path) -> bool:
    """Return True if a weight file can probably be linked and need not be copied."""
    if link == "hard":
        return shard.path.stat().st_dev == _existing_parent(destination).stat().st_dev
    return link == "symbolic"


def check_free_space(destination: Path, needed: int) -> None:
    """Check the free space before anything is written.

    Raises:
        ExportError: If the disk has too little free space.
    """
    free = shutil.disk_usage(_existing_parent(destination)).free
    if needed + _RESERVE > free:
        raise ExportError(
            f"Cannot write {destination}: it needs {_format_size(needed)}, but the disk has only "
            f"{_format_size(free)} free. Free some space, or choose another disk."
        )


def _check_destination(destination: Path, marks: Sequence[str], *, force: bool) -> None:
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise ExportError(f"Cannot write {destination}: it exists already, and is not a folder.")
    if destination.is_mount():
        raise ExportError(
            f"Cannot write {destination}: it is a mount point. Choose a folder inside it."
        )
    if destination.is_dir() and any(destination.iterdir()):
        if not all((destination / name).is_file() for name in marks):
            raise ExportError(
                f"Cannot write {destination}: it exists already, and is not an exported "
                "checkpoint. Choose another folder."
            )
        if not force:
            raise ExportError(
                f"Cannot write {destination}: it contains an exported checkpoint already. Replace "
                "it with --force (force=True)."
            )


def _remove_unfinished(unfinished: Path, *, force: bool) -> None:
    if not unfinished.exists():
        return
    with _locked(unfinished):
        if not force:
            raise ExportError(
                f"Cannot start the export: {unfinished} remains of a killed export. Remove it, or "
                "replace it with --force (force=True)."
            )
        shutil.rmtree(unfinished)


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Lock a folder against other processes; the lock ends with this process.

    Raises:
        ExportError: If another process holds the lock.
    """
    if os.name == "nt":  # Windows cannot open folders
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems have no locks
            try:
                lock(descriptor)
            except BlockingIOError as error:
                raise ExportError(
                    f"Cannot write {folder}: another export is writing it. Wait for its end."
                ) from error
        yield
    finally:
        os.close(descriptor)


def _publish(unfinished: Path, destination: Path, replaced: Path) -> None:
    for folder in (*(path for path in unfinished.rglob("*") if path.is_dir()), unfinished):
        _try_to_sync(folder)
    try:
        if destination.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            destination.rename(replaced)
        unfinished.rename(destination)
    except BaseException:
        if replaced.exists() and not destination.exists():
            replaced.rename(destination)
        raise
    _try_to_sync(destination.parent)


def _try_to_sync(folder: Path) -> None:
    with suppress(OSError):  # some systems cannot flush folders
        sync_path(folder)


def _format_size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _existing_parent(path: Path) -> Path:
    """Return the closest parent folder that exists."""
    return next(folder for folder in path.absolute().parents if folder.exists())
