"""Write an output from the input and its lines of results."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

import orjson

from reward_client._base.atomic_file import replace_file, sync_path
from reward_client._rows.layout import OneLayout
from reward_client._rows.results import RESULTS, added_names
from reward_client.errors import FileError
from reward_client.files.inputs.source import Source
from reward_client.files.outputs.added_columns import added_types
from reward_client.files.outputs.input_columns import (
    batches_of,
    column_names,
    schema_of,
)
from reward_client.files.outputs.output import Output
from reward_client.files.outputs.tables import check_types, write_table
from reward_client.files.outputs.texts import joined, write_csv, write_json
from reward_client.files.results import RESUME, file_errors
from reward_client.files.rows import passing_columns


class Assembly:
    """The output of a run, in a format that cannot grow row by row.

    Args:
        source: The input.
        output: The output.

    Raises:
        FileError: If the input is a pipe or cannot be read, if a column has no single type in a
            typed format, or if it has the name of an added one.
        ImportError: If the format needs pyarrow, which is not installed.
    """

    def __init__(self, source: Source, output: Output) -> None:
        self._source = source
        self._output = output
        self._arrow: Any = None
        if not source.is_repeatable:
            raise FileError(
                f"Cannot write {output.path} from {source.name}: a pipe is read once only, and "
                "this format needs the rows twice. Name a file, or write JSON lines."
            )
        if output.needs_pyarrow:
            self._arrow = output.pyarrow()
        self._state = _state_of(source)
        self._columns: Any = None
        if output.is_typed:
            self._columns = schema_of(source, output)
            check_types(output, self._columns)
        elif output.kind in ("csv", "tsv"):
            self._columns = column_names(source)

    def write(self, names: Sequence[str]) -> None:
        """Write the output in one step, once all rows have results.

        Args:
            names: The names of the columns that a typed output has in any case.

        Raises:
            FileError: If it cannot be written, or if the input has changed meanwhile.
        """
        if _state_of(self._source) != self._state:
            raise FileError(
                f"Cannot write {self._output.path}: {self._source.name} has changed during the "
                "run. Restore it, and run the same command again."
            )
        new = self._output.unfinished
        with file_errors(self._output.path, RESUME):
            try:
                self._write(names)
                _replace(new, self._output.path)
            except BaseException:
                _remove(new)
                raise

    def _write(self, names: Sequence[str]) -> None:
        if self._output.is_typed:
            types, layout = added_types(self._results(), names, self._arrow)
            schema = self._columns
            for name, each in types.items():
                schema = schema.append(self._arrow.field(name, each))
            write_table(self._output, self._batches(types, layout, schema), schema)
        elif self._output.kind in ("csv", "tsv"):
            added = added_names(self._results())
            rows = ({**passing_columns(line), **result} for line, result in self._rows())
            write_csv(self._output, [*self._columns, *added], rows)
        else:
            write_json(
                self._output,
                (
                    joined(line.content if passing_columns(line) else b"{}", result)
                    for line, result in self._rows()
                ),
            )

    def _rows(self) -> Iterator[tuple[Any, dict[str, object]]]:
        return zip(self._source.lines(), self._results(), strict=True)

    def _results(self) -> Iterator[dict[str, object]]:
        with self._output.results.open("rb") as file:
            for line in file:
                result = cast("dict[str, object]", orjson.loads(line))
                yield {name: result[name] for name in RESULTS if name in result}

    def _batches(self, types: Mapping[str, Any], layout: OneLayout, schema: Any) -> Iterator[Any]:
        arrow, results = self._arrow, self._results()
        for batch in batches_of(self._source, self._columns, self._output):
            rows = [*map(layout.laid, islice(results, batch.num_rows))]
            added = [
                arrow.array([row.get(name) for row in rows], each) for name, each in types.items()
            ]
            yield arrow.RecordBatch.from_arrays([*batch.columns, *added], schema=schema)


def _state_of(source: Source) -> list[tuple[int, int]]:
    with file_errors(source.paths[0]):
        return [(status.st_size, status.st_mtime_ns) for status in map(os.stat, source.paths)]


def _replace(new: Path, old: Path) -> None:
    if not new.is_dir():
        sync_path(new)
        replace_file(new, old)
        return
    shutil.rmtree(old, ignore_errors=True)
    new.rename(old)
    sync_path(old.parent)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
