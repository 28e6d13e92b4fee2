"""Read CSV (RFC 4180) and values separated by tabs."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from reward_client.errors import FileError
from reward_client.files.inputs.line import MAX_ROW_BYTES, Line, Progress, unreadable


class CsvTable:
    """A file of CSV in UTF-8, with a header. All values are texts.

    Args:
        path: Path of the file, for errors.
        stream: Its content, without compression.
        progress: Returns the bytes read so far, from those taken of the content.
        delimiter: The character between two cells.
    """

    def __init__(self, path: Path, stream: BinaryIO, progress: Progress, delimiter: str) -> None:
        self._path = path
        self._stream = stream
        self._progress = progress
        self._delimiter = delimiter
        self._taken = 0

    def lines(self) -> Iterator[Line]:
        """Iterate over the rows.

        Raises:
            FileError: If the file is no CSV in UTF-8, or has two columns of one name.
        """
        # The library's limit is one for the whole process, and too small for a conversation.
        csv.field_size_limit(max(MAX_ROW_BYTES, csv.field_size_limit()))
        rows = csv.reader(self._decoded(), delimiter=self._delimiter, strict=True)
        try:
            header = next(rows, list[str]())
            self._check(header)
            position = 0
            for cells in rows:
                if not cells:
                    continue
                yield self._line(position, header, cells)
                position += 1
        except csv.Error as error:
            raise FileError(
                f"Cannot read {self._path}: line {rows.line_num} is not CSV ({error})."
            ) from error
        except UnicodeDecodeError as error:
            raise FileError(
                f"Cannot read {self._path}: it is not in UTF-8 ({error}). Save it as UTF-8."
            ) from error
        except (OSError, EOFError, zlib.error) as error:
            raise unreadable(self._path, error) from error

    def _decoded(self) -> Iterator[str]:
        encoding = "utf-8-sig"  # a byte order mark stands in the first line only
        while line := self._stream.readline(MAX_ROW_BYTES):
            self._taken += len(line)
            yield line.decode(encoding)
            encoding = "utf-8"

    def _line(self, position: int, header: list[str], cells: list[str]) -> Line:
        values = dict(zip(header, cells, strict=False))
        refusal = None
        if len(cells) != len(header):
            refusal = f"it has {len(cells)} cells, but the header has {len(header)} names"
        return Line(position, orjson.dumps(values), self._progress(self._taken), values, refusal)

    def _check(self, header: list[str]) -> None:
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise FileError(
                f"Cannot read {self._path}: two columns are named {min(twice)!r}. Rename one."
            )
