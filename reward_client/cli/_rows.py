"""Rows of a small file, which a command keeps in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reward_client.cli._options import UsageError

if TYPE_CHECKING:
    from reward_client._rows.forms import ReadRow


def read_rows(path: Path) -> list[ReadRow]:
    """Read all rows of a file, in the format of `reward-client score`.

    Raises:
        FileError: If the file cannot be read.
        UsageError: If a row is invalid.
    """
    from reward_client.files.inputs.source import Source
    from reward_client.files.rows import RowReader

    with Source(path) as source:
        rows = [RowReader(passes=False).read(line) for line in source.lines()]
    for number, row in enumerate(rows):
        if row.error is not None:
            raise UsageError(f"Cannot use row {number} of {path}: {row.error}")
    return [row.read for row in rows if row.read is not None]
