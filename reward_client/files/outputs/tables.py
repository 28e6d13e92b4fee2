"""Write typed files: Parquet, Arrow, and folders of `datasets`."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from reward_client.errors import FileError
from reward_client.files.outputs.output import Output
from reward_client.files.pyarrow import ARROW_ERRORS

_GROUP_BYTES = 16 << 20
_GROUP_ROWS = 20_000
"""A row group holds this much at most: a reader keeps one in memory."""
_DATA = "data-00000-of-00001.arrow"


class TableWriter(Protocol):
    """Takes record batches of one schema."""

    def write_batch(self, batch: Any) -> None:
        """Write a batch."""
        ...


def write_table(output: Output, batches: Iterator[Any], schema: Any) -> None:
    """Write all batches into the unfinished file of an output.

    Raises:
        OSError: If it cannot be written.
        FileError: If the input cannot be read.
    """
    with _writer(output, schema) as writer:
        batch = None
        for batch in batches:
            writer.write_batch(batch)
        if batch is None:  # `datasets` does not read a file without one
            arrow = output.pyarrow()
            writer.write_batch(arrow.RecordBatch.from_pylist([], schema=schema))


def check_types(output: Output, schema: Any) -> None:
    """Check that a format has all types of a schema, before anything is scored.

    Raises:
        FileError: If it lacks one.
    """
    try:
        if output.kind == "parquet":
            arrow = output.pyarrow()
            parquet = output.pyarrow("parquet")
            parquet.ParquetWriter(arrow.BufferOutputStream(), schema).close()
        elif output.kind == "datasets":
            with suppress(ImportError):  # the folder is written without this library
                import_module("datasets").Features.from_arrow_schema(schema)
    except ARROW_ERRORS as error:
        reason = str(error).rstrip(".")
        raise FileError(
            f"Cannot write {output.path}: {output.kind} has no place for a column ({reason}). "
            "Choose an output of JSON lines."
        ) from error


@contextmanager
def _writer(output: Output, schema: Any) -> Generator[TableWriter]:
    ipc = output.pyarrow("ipc")
    path = output.unfinished
    if output.kind == "parquet":
        parquet = output.pyarrow("parquet")
        with parquet.ParquetWriter(path, schema) as file:
            groups = _RowGroups(output.pyarrow(), file)
            yield groups
            groups.flush()
    elif output.kind == "arrow":
        with ipc.new_file(str(path), schema) as writer:
            yield writer
    else:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        with ipc.new_stream(str(path / _DATA), schema) as writer:
            yield writer
        _describe_dataset(path)


class _RowGroups:
    """Collects batches into row groups of a Parquet file."""

    def __init__(self, arrow: Any, file: Any) -> None:
        self._arrow = arrow
        self._file = file
        self._batches: list[Any] = []
        self._bytes = self._rows = 0

    def write_batch(self, batch: Any) -> None:
        self._batches.append(batch)
        self._bytes += batch.get_total_buffer_size()
        self._rows += batch.num_rows
        if self._bytes >= _GROUP_BYTES or self._rows >= _GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        if self._batches:
            self._file.write_table(self._arrow.Table.from_batches(self._batches))
        self._batches = []
        self._bytes = self._rows = 0


def _describe_dataset(folder: Path) -> None:
    """Write the files that `datasets.load_from_disk` needs beside the data (datasets 3 and 4)."""
    with (folder / _DATA).open("rb") as data:
        fingerprint = hashlib.file_digest(data, "sha256").hexdigest()[:16]
    state: dict[str, object] = {
        "_data_files": [{"filename": _DATA}],
        "_fingerprint": fingerprint,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    (folder / "state.json").write_text(json.dumps(state, indent=2))
    (folder / "dataset_info.json").write_text("{}")
