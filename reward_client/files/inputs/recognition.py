"""Open a file by its content: every format but CSV has a beginning of its own."""

from __future__ import annotations

import gzip
import io
import os
import re
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, cast

from reward_client.errors import FileError
from reward_client.files.inputs.arrow import ipc_file, ipc_stream, parquet_table
from reward_client.files.inputs.csv_table import CsvTable
from reward_client.files.inputs.json_array import JsonArray
from reward_client.files.inputs.json_lines import JsonLines
from reward_client.files.inputs.line import MAX_ROW_BYTES, Progress, Reader, unreadable
from reward_client.files.pyarrow import ARROW_ERRORS, pyarrow_module

_PARQUET, _IPC_FILE, _IPC_STREAM = b"PAR1", b"ARROW1", b"\xff\xff\xff\xff"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_REFUSED: Mapping[bytes, str] = MappingProxyType(
    {
        b"BZh": "it is compressed with bzip2. Decompress it first: bunzip2 FILE",
        b"\xfd7zXZ": "it is compressed with xz. Decompress it first: unxz FILE",
        b"PK\x03\x04": "it is a zip archive, or a workbook of Excel. Unpack it, or save it as CSV",
        b"FEA1": "it is Feather of version 1. Write it again as Parquet or Arrow",
        b"SQLite format 3": "it is a database. Export its rows as JSON lines, CSV or Parquet",
    }
)
_DELIMITERS = MappingProxyType({".csv": ",", ".tsv": "\t"})
_COMPRESSED = (".gz", ".zst", ".zstd")
_BUFFER_BYTES = 1 << 20
_START_BYTES = 16
_BOM = b"\xef\xbb\xbf"
_ARRAY = re.compile(rb"\s*\[\s*(\{.*)?", re.DOTALL)


@contextmanager
def open_reader(path: Path) -> Generator[Reader]:
    """Open a file for its rows, until the context ends.

    Raises:
        FileError: If it cannot be read, or has another format.
        ImportError: If its format needs pyarrow, which is not installed.
    """
    try:
        raw: io.BufferedReader = io.BufferedReader(io.FileIO(path), _BUFFER_BYTES)
    except (OSError, ValueError) as error:  # ValueError: an impossible file name
        raise unreadable(path, error) from error
    with raw:
        try:
            size = os.fstat(raw.fileno()).st_size
            start = raw.peek(_START_BYTES)[:_START_BYTES]
        except OSError as error:
            raise unreadable(path, error) from error
        yield _reader(path, raw, start, size)


def _reader(path: Path, raw: io.BufferedReader, start: bytes, size: int) -> Reader:
    for magic, reason in _REFUSED.items():
        if start.startswith(magic):
            raise FileError(f"Cannot read {path}: {reason}.")
    if start.startswith((_PARQUET, _IPC_FILE)):
        if not raw.seekable():
            raise FileError(
                f"Cannot read {path}: Parquet and Arrow files are not read from a pipe. Name the "
                "file, or send JSON lines."
            )
        open_table = parquet_table if start.startswith(_PARQUET) else ipc_file
        return open_table(path, raw, size)
    if start.startswith(_IPC_STREAM):
        return ipc_stream(path, raw, size)
    stream = _decompressed(path, raw, start)
    suffix = _plain_suffix(path)
    if suffix in _DELIMITERS:
        return CsvTable(path, stream, _progress(raw, stream, size), _DELIMITERS[suffix])
    return _json_reader(path, stream, raw, size, suffix)


def _decompressed(path: Path, raw: io.BufferedReader, start: bytes) -> BinaryIO:
    if start.startswith(_GZIP):
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    if start.startswith(_ZSTD):
        pyarrow = pyarrow_module(f"Cannot read {path}: zstd")
        compressed = pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, "r"), "zstd")
        return io.BufferedReader(compressed)
    return raw


def _progress(raw: io.BufferedReader, stream: BinaryIO, size: int) -> Progress:
    """Return the progress through a file, of which this is the start."""
    if not size or not raw.seekable():  # a pipe has no position; its size is 0
        return lambda _: 0
    if stream is not raw:
        return lambda _: raw.tell()
    start = raw.tell()  # for each row, the call of the system would take longer than its parsing
    return lambda taken: start + taken


def _json_reader(
    path: Path, stream: BinaryIO, raw: io.BufferedReader, size: int, suffix: str
) -> Reader:
    try:
        first = _first_line(stream)
    except (EOFError, zlib.error, *ARROW_ERRORS) as error:
        raise unreadable(path, error) from error
    progress = _progress(raw, stream, size)
    # Of objects: a list of anything else is an invalid row of JSON lines.
    if _ARRAY.fullmatch(first) or (suffix == ".json" and first.strip() == b"[]"):
        return JsonArray(path, stream, progress, first)
    return JsonLines(path, stream, progress, first)


def _first_line(stream: BinaryIO) -> bytes:
    """Return the first line that is not blank, without a byte order mark."""
    while line := stream.readline(MAX_ROW_BYTES):
        line = line.removeprefix(_BOM)
        if line.strip():
            return line
    return b""


def _plain_suffix(path: Path) -> str:
    """Return the suffix of a name, without that of its compression."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in _COMPRESSED else suffix
