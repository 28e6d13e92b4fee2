"""The columns of the input, for formats that name all columns before the first row."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
        FileError: If a column has no single type that holds all its values, or the name of an added
            one.
    """
    arrow = output.pyarrow()
    schema = None
    is_converted = False
    for part in _schemas_of(arrow, source, output):
        earlier = part if schema is None else schema
        schema = _unified(arrow, [earlier, part], source, output)
        is_converted |= _is_converted(arrow, earlier, schema) or _is_converted(arrow, part, schema)
    if is_converted:  # a value that its column cannot hold is refused now, and not after the run
        for _ in batches_of(source, schema, output):
            pass
    schema = arrow.schema([]) if schema is None else schema
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
    for reader in source.readers():
        if is_table(reader):
            for batch in reader.batches():
                yield _with_schema(arrow, batch, schema, source, output)
            continue
        lines = reader.lines()
        while rows := [passing_columns(line) for line in islice(lines, _BATCH_ROWS)]:
            arrays: list[Any] = []
            for field in schema:
                with _one_type(source, output, f"column {field.name!r}"):
                    arrays.append(arrow.array([row.get(field.name) for row in rows], field.type))
            yield _batch_of(arrow, arrays, schema, len(rows))


def is_table(reader: Reader) -> TypeGuard[Table]:
    """Return True for a file with typed columns."""
    return hasattr(reader, "schema")


def _refuse_clash(source: Source, names: Mapping[str, object]) -> None:
    try:
        refuse_clash(names)
    except InputError as error:
        raise FileError(f"Cannot score {source.name}: {error}") from error


def _schemas_of(arrow: Any, source: Source, output: Output) -> Iterator[Any]:
    """Iterate over the schemas of the parts of the input."""
    for reader in source.readers():
        if is_table(reader):
            yield _without_metadata(reader.schema)
            continue
        lines = reader.lines()
        while rows := [passing_columns(line) for line in islice(lines, _BATCH_ROWS)]:
            yield _schema_of_rows(arrow, rows, source, output)


def _schema_of_rows(
    arrow: Any, rows: Sequence[Mapping[str, object]], source: Source, output: Output
) -> Any:
    fields: list[Any] = []
    for name in {name: None for row in rows for name in row}:
        with _one_type(source, output, f"column {name!r}"):
            fields.append((name, arrow.array([row.get(name) for row in rows]).type))
    return arrow.schema(fields)


def _unified(arrow: Any, schemas: Sequence[Any], source: Source, output: Output) -> Any:
    with _one_type(source, output, "a column"):
        return arrow.unify_schemas([*schemas], promote_options="permissive")


def _is_converted(arrow: Any, before: Any, after: Any) -> bool:
    """Return True if values change their type from one schema to another one."""
    return _is_type_converted(arrow, arrow.struct([*before]), arrow.struct([*after]))


def _is_type_converted(arrow: Any, before: Any, after: Any) -> bool:
    if before.equals(after) or before.equals(arrow.null()):
        return False
    if before.id != after.id or not before.num_fields:
        return True
    is_struct = arrow.types.is_struct(before)
    inner = [before.field(index) for index in range(before.num_fields)]
    return any(
        _is_type_converted(arrow, each.type, after.field(each.name if is_struct else index).type)
        for index, each in enumerate(inner)
    )


@contextmanager
def _one_type(source: Source, output: Output, what: str) -> Generator[None]:
    try:
        yield
    except ARROW_ERRORS as error:
        reason = str(error).rstrip(".")
        raise FileError(
            f"Cannot write {output.path}: {what} of {source.name} has no single type "
            f"({reason}). Choose an output of JSON lines."
        ) from error


def _without_metadata(schema: Any) -> Any:
    metadata = dict(schema.metadata or {})
    metadata.pop(_STALE_METADATA, None)
    return schema.with_metadata(metadata or None)


def _with_schema(arrow: Any, batch: Any, schema: Any, source: Source, output: Output) -> Any:
    """Return a batch with all columns of a schema, and their types."""
    if batch.schema.equals(schema):
        return batch.replace_schema_metadata(schema.metadata)
    arrays: list[Any] = []
    for field in schema:
        if field.name not in batch.schema.names:
            arrays.append(arrow.nulls(batch.num_rows, field.type))
            continue
        with _one_type(source, output, f"column {field.name!r}"):
            arrays.append(batch.column(field.name).cast(field.type))
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
