"""What the destination's file system can take."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal, TypeAlias

from reward_client.errors import ExportError
from reward_client.export.checkpoint import Shard

Link: TypeAlias = Literal["hard", "symbolic", "copy"]

_SPARE = 64 << 20
"""Bytes left free besides what is written."""


def can_link(shard: Shard, link: Link, destination: Path) -> bool:
    """Whether a file is likely to be linked and not copied."""
    if link == "hard":
        return shard.path.stat().st_dev == _nearest(destination).stat().st_dev
    return link == "symbolic"


def refuse_full_disk(destination: Path, needed: int) -> None:
    """Before anything is written.

    Raises:
        ExportError: There is not room enough.
    """
    free = shutil.disk_usage(_nearest(destination)).free
    if needed + _SPARE > free:
        raise ExportError(
            f"{destination} would take {_size(needed)}, and {_size(free)} are free there."
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _nearest(path: Path) -> Path:
    """The folder that exists on the way to a path."""
    return next(folder for folder in path.absolute().parents if folder.exists())
