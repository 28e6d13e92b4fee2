"""Write files of text: compressed JSON lines, JSON arrays and CSV."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO, cast

import orjson

from reward_client.files.json_text import as_json
from reward_client.files.outputs.output import Output


def write_json(output: Output, rows: Iterable[bytes]) -> None:
    """Write rows, each a JSON object, as lines or as an array.

    Raises:
        OSError: If they cannot be written.
    """
    is_array = output.kind == "json"
    with _opened(output) as file:
        separator = b"[\n" if is_array else b""
        for row in rows:
            file.write(separator + row)
            separator = b",\n" if is_array else b"\n"
        if is_array:
            file.write(b"\n]" if separator == b",\n" else b"[]")
        file.write(b"\n")


def write_csv(output: Output, names: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as CSV. Lists, objects and numbers are written as JSON, and null as nothing.

    Raises:
        OSError: If they cannot be written.
    """
    with _opened(output) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        delimiter = "\t" if output.kind == "tsv" else ","
        writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
        quoting = csv.writer(text, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(names)
        for row in rows:
            cells = [_cell(row.get(name)) for name in names]
            # Python before 3.13 does not quote a carriage return, which ends a row too.
            has_return = any("\r" in cell for cell in cells)
            (quoting if has_return else writer).writerow(cells)
        text.detach()


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        written = as_json(value)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if written == b"null":  # also NaN
        return ""
    if written.startswith(b'"'):  # a time, a decimal number, bytes
        return cast("str", orjson.loads(written))
    return written.decode()


@contextmanager
def _opened(output: Output) -> Generator[BinaryIO]:
    path = output.unfinished
    if output.compression == "zstd":
        with io.BufferedWriter(
            output.pyarrow().output_stream(str(path), compression="zstd")
        ) as file:
            yield cast("BinaryIO", file)
    elif output.compression == "gzip":
        # Without a name and a time in it, the same rows give the same bytes.
        with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
            yield cast("BinaryIO", file)
    else:
        with path.open("wb") as file:
            yield file


def joined(columns: bytes, added: Mapping[str, object]) -> bytes:
    """Join the columns of a row, a JSON object, with further ones."""
    inner = columns[1:-1].strip()
    return b"{" + inner + (b"," if inner else b"") + orjson.dumps(added)[1:]
