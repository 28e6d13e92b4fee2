"""Read JSON lines."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from reward_client.files.inputs.line import MAX_ROW_BYTES, Line, Progress, unreadable

_BLANK = b" \t\r\n"


class JsonLines:
    """A file with one row in each line.

    Args:
        path: Path of the file, for errors.
        stream: Its content, without compression.
        progress: Returns the bytes read so far, from those taken of the rest of the content.
        first: The first line, which was read already; without a byte order mark.
    """

    def __init__(self, path: Path, stream: BinaryIO, progress: Progress, first: bytes) -> None:
        self._path = path
        self._stream = stream
        self._progress = progress
        self._first = first

    def lines(self) -> Iterator[Line]:
        """Iterate over the rows.

        Raises:
            FileError: If the file cannot be read.
        """
        position = taken = 0
        try:
            content = self._first
            while content:
                is_whole = len(content) < MAX_ROW_BYTES or content.endswith(b"\n")
                rest = content
                while rest and not rest.endswith(b"\n"):
                    rest = self._stream.readline(MAX_ROW_BYTES)
                    taken += len(rest)
                stripped = content.strip(_BLANK)
                if stripped:
                    refusal = None if is_whole else f"it is longer than {MAX_ROW_BYTES >> 20} MiB"
                    yield Line(position, stripped, self._progress(taken), refusal=refusal)
                    position += 1
                content = self._stream.readline(MAX_ROW_BYTES)
                taken += len(content)
        except (OSError, EOFError, zlib.error) as error:
            raise unreadable(self._path, error) from error
