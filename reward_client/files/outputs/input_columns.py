"""The columns of the input, for formats that name all columns before the first row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeGuard

from reward_client._rows.results import refuse_clash
from reward_client.errors import FileError, InputError
from reward_client.files.inputs.line import Reader, Table
from reward_client.files.inputs.source import Source
from reward_client.files.outputs.output import Output
from reward_client.files.pyarrow import ARROW_ERRORS
from reward_client.files.rows import passing_columns

_BATCH_ROWS = 1_000
# `datasets` refuses a file whose columns are not those of this entry.
_STALE_METADATA = b"huggingface"


def column_names(source: Source) -> list[str]:
    """Return the names of all columns, in the order of their first rows.

    Raises:
        FileError: If a file cannot be read, or has a column with the name of an added one.
    """
    names: dict[str, None] = {}
    for reader in source.readers():
        if is_table(reader):
            names.update(dict.fromkeys(reader.schema.names))
        else:
            for line in reader.lines():
                names.update(dict.fromkeys(passing_columns(line)))
    _refuse_clash(source, names)
    return [*names]


def schema_of(source: Source, output: Output) -> Any:
    """Return the ``pyarrow.Schema`` of all files.

    Raises:
        FileError: If a column has no single type, or the name of an added one.
    """
    arrow = output.pyarrow()
    schemas: list[Any] = []
    for reader in source.readers():
        if is_table(reader):
            schemas.append(_without_metadata(reader.schema))
            continue
        lines = reader.lines()
        while rows := [passing_columns(line) for line in islice(lines, _BATCH_ROWS)]:
            schemas.append(_schema_of_rows(arrow, rows, source, output))
            schemas = [_unified(arrow, schemas, source, output)]
    schema = _unified(arrow, schemas, source, output) if schemas else arrow.schema([])
    if output.kind == "arrow":
        schema = _without_dictionaries(arrow, schema)
    _refuse_clash(source, dict.fromkeys(schema.names))
    return schema


def batches_of(source: Source, schema: Any, output: Output) -> Iterator[Any]:
    """Iterate over all rows as ``pyarrow.RecordBatch``.

    Raises:
        FileError: If a file cannot be read, or holds values of another type by now.
    """
    arrow = output.pyarrow()
    try:
        for reader in source.readers():
            if is_table(reader):
                for batch in reader.batches():
                    yield _with_schema(arrow, batch, schema)
                continue
            lines = reader.lines()
            while rows := [passing_columns(line) for line in islice(lines, _BATCH_ROWS)]:
                yield _batch_of(
                    arrow,
                    [arrow.array([row.get(f.name) for row in rows], f.type) for f in schema],
                    schema,
                    len(rows),
                )
    except ARROW_ERRORS as error:
        raise FileError(f"Cannot write {output.path}: {error}. Write JSON lines.") from error


def is_table(reader: Reader) -> TypeGuard[Table]:
    """Return True for a file with typed columns."""
    return hasattr(reader, "schema")


def _refuse_clash(source: Source, names: Mapping[str, object]) -> None:
    try:
        refuse_clash(names)
    except InputError as error:
        raise FileError(f"Cannot score {source.name}: {error}") from error


def _schema_of_rows(
    arrow: Any, rows: Sequence[Mapping[str, object]], source: Source, output: Output
) -> Any:
    fields: list[Any] = []
    for name in {name: None for row in rows for name in row}:
        try:
            fields.append((name, arrow.array([row.get(name) for row in rows]).type))
        except ARROW_ERRORS as error:
            raise _mixed(source, output, f"column {name!r}", error) from error
    return arrow.schema(fields)


def _unified(arrow: Any, schemas: Sequence[Any], source: Source, output: Output) -> Any:
    try:
        return arrow.unify_schemas([*schemas], promote_options="permissive")
    except ARROW_ERRORS as error:
        raise _mixed(source, output, "a column", error) from error


def _mixed(source: Source, output: Output, what: str, error: Exception) -> FileError:
    reason = str(error).rstrip(".")
    return FileError(
        f"Cannot write {output.path}: {what} of {source.name} has no single type "
        f"({reason}). Choose an output of JSON lines."
    )


def _without_metadata(schema: Any) -> Any:
    metadata = dict(schema.metadata or {})
    metadata.pop(_STALE_METADATA, None)
    return schema.with_metadata(metadata or None)


def _with_schema(arrow: Any, batch: Any, schema: Any) -> Any:
    """Return a batch with all columns of a schema, and their types."""
    if batch.schema.equals(schema):
        return batch.replace_schema_metadata(schema.metadata)
    arrays = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else arrow.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return _batch_of(arrow, arrays, schema, batch.num_rows)


def _batch_of(arrow: Any, arrays: Sequence[Any], schema: Any, rows: int) -> Any:
    if not arrays:  # a batch knows its rows by its columns
        return arrow.RecordBatch.from_struct_array(arrow.array([{}] * rows, arrow.struct([])))
    return arrow.RecordBatch.from_arrays([*arrays], schema=schema)


def _without_dictionaries(arrow: Any, schema: Any) -> Any:
    """Return a schema with values: a file of Arrow has one dictionary, and each batch its own."""
    for position, field in enumerate(schema):
        if arrow.types.is_dictionary(field.type):
            schema = schema.set(position, field.with_type(field.type.value_type))
    return schema
