"""Read Parquet and Arrow IPC, batch by batch."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from reward_client.errors import FileError
from reward_client.files.inputs.line import Line, unreadable
from reward_client.files.json_text import as_json
from reward_client.files.pyarrow import ARROW_ERRORS, pyarrow_module

_BATCH_ROWS = 1_000
_BUFFER_BYTES = 1 << 20


class ArrowTable:
    """A file of record batches.

    Args:
        path: Path of the file, for errors.
        size: Bytes of the file.
        rows: Number of its rows; 0 if unknown.
        schema: Its ``pyarrow.Schema``.
        batches: Its batches.

    Raises:
        FileError: If two columns have one name.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        rows: int,
        schema: Any,
        batches: Iterator[Any],
    ) -> None:
        self._path = path
        self._size = size
        self._rows = rows
        self._batches = batches
        self.schema = schema
        twice = {name for name in schema.names if schema.names.count(name) > 1}
        if twice:
            raise FileError(
                f"Cannot read {path}: two columns are named {min(twice)!r}. Rename one."
            )

    def batches(self) -> Iterator[Any]:
        """Iterate over the rows in batches.

        Raises:
            FileError: If the file cannot be read.
        """
        with _arrow_errors(self._path):
            for batch in self._batches:
                for start in range(0, batch.num_rows, _BATCH_ROWS):
                    yield batch.slice(start, _BATCH_ROWS)

    def lines(self) -> Iterator[Line]:
        """Iterate over the rows.

        Raises:
            FileError: If the file cannot be read.
        """
        position = 0
        for batch in self.batches():
            with _arrow_errors(self._path):
                rows = batch.to_pylist()
            for values in rows:
                end = self._size * (position + 1) // self._rows if self._rows else 0
                yield Line(position, as_json(values), end, values)
                position += 1


def parquet_table(path: Path, stream: BinaryIO, size: int) -> ArrowTable:
    """Open a Parquet file, which is read one row group after the other.

    Raises:
        FileError: If it cannot be read.
        ImportError: If pyarrow is not installed.
    """
    parquet = pyarrow_module(f"Cannot read {path}: Parquet", "parquet")
    with _arrow_errors(path):
        file = parquet.ParquetFile(stream, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        schema = file.schema_arrow
    batches = file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False)
    return ArrowTable(path, size, file.metadata.num_rows, schema, batches)


def ipc_file(path: Path, stream: BinaryIO, size: int) -> ArrowTable:
    """Open a file of the Arrow IPC format.

    Raises:
        FileError: If it cannot be read.
        ImportError: If pyarrow is not installed.
    """
    ipc = pyarrow_module(f"Cannot read {path}: Arrow", "ipc")
    with _arrow_errors(path):
        file = ipc.open_file(stream)
        schema, number = file.schema, file.num_record_batches
    batches = (file.get_batch(index) for index in range(number))
    return ArrowTable(path, size, 0, schema, batches)


def ipc_stream(path: Path, stream: BinaryIO, size: int) -> ArrowTable:
    """Open a stream of the Arrow IPC format, as `datasets` writes it.

    Raises:
        FileError: If it cannot be read.
        ImportError: If pyarrow is not installed.
    """
    ipc = pyarrow_module(f"Cannot read {path}: Arrow", "ipc")
    with _arrow_errors(path):
        batches = ipc.open_stream(stream)
        schema = batches.schema
    return ArrowTable(path, size, 0, schema, iter(batches))


@contextmanager
def _arrow_errors(path: Path) -> Generator[None]:
    """Raise errors of pyarrow as `FileError`."""
    try:
        yield
    except ARROW_ERRORS as error:
        raise unreadable(path, error) from error
