"""Read a JSON array of objects."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from reward_client.errors import FileError
from reward_client.files.inputs.line import Line, Progress, unreadable

_SPACE = re.compile(r"[ \t\r\n]*")


class JsonArray:
    """A file with one JSON array, which is read whole.

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
        """Iterate over the items, as they are written but in one line each.

        Raises:
            FileError: If the file is no JSON array in UTF-8.
        """
        try:
            content = self._first + self._stream.read()
            text = content.decode()
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise unreadable(self._path, error) from error
        end = self._progress(len(content) - len(self._first))
        try:
            for position, item in enumerate(_items(text)):
                # Line breaks stand between the tokens of JSON, never inside of them.
                line = item.replace("\n", " ").replace("\r", " ")
                yield Line(position, line.encode(), end)
        except (ValueError, RecursionError) as error:
            raise FileError(
                f"Cannot read {self._path}: it begins as a JSON array, but is not valid JSON "
                f"({error}). Write JSON lines, or a whole array."
            ) from error


def _items(text: str) -> Iterator[str]:
    """Iterate over the items of an array, as they are written.

    Raises:
        ValueError: If it is no array.
    """
    decoder = json.JSONDecoder()
    position = _next_token(text, _next_token(text, 0) + 1)
    while text[position : position + 1] != "]" or position == 0:
        _, end = decoder.raw_decode(text, position)
        yield text[position:end]
        position = _next_token(text, end)
        if text[position : position + 1] == ",":
            position = _next_token(text, position + 1)
            if text[position : position + 1] == "]":
                raise json.JSONDecodeError("Expecting value", text, position)
        elif text[position : position + 1] != "]":
            raise json.JSONDecodeError("Expecting ',' or ']'", text, position)
    if _next_token(text, position + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, position + 1)


def _next_token(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position
