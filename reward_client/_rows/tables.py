"""Tables of other libraries: their rows, and the same table with further columns.

No library is imported: a table is known by the module and the name of its class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, TypeAlias, TypeVar

from reward_client._base.wording import describe_type
from reward_client.errors import InputError

_BATCH = 1_000
"""Rows that are turned into Python's objects at once."""


class Frame(Protocol):
    """A DataFrame of pandas or polars."""

    @property
    def columns(self) -> Any:
        """The names of the columns."""
        ...


class ColumnTable(Protocol):
    """A table of pyarrow, or a `datasets.Dataset`."""

    @property
    def column_names(self) -> Any:
        """The names of the columns."""
        ...


AnyTable: TypeAlias = Frame | ColumnTable
TableT = TypeVar("TableT", Frame, ColumnTable)
Values: TypeAlias = Mapping[str, Sequence[object]]


@dataclass(frozen=True, slots=True)
class Library:
    """The ways of a library with its tables. They are untyped, since nothing is imported.

    Attributes:
        names: Returns the names of the columns.
        rows: Iterates over the rows.
        extended: Returns the table with further columns.
        is_typed: True if all values of a column must have one layout.
    """

    names: Callable[[Any], Iterable[object]]
    rows: Callable[[Any], Iterator[Mapping[str, object]]]
    extended: Callable[[Any, Values], Any]
    is_typed: bool = True


def library_of(table: object) -> Library | None:
    """Return the library of a table; None for anything else.

    Raises:
        InputError: If the table holds several tables, no cells yet, or a column twice.
    """
    kind = type(table)
    found = (kind.__module__.partition(".")[0], kind.__name__)
    if found in _OTHERS:
        raise InputError(f"Cannot score {describe_type(table)}. {_OTHERS[found]}")
    library = _LIBRARIES.get(found)
    if library is not None:
        names = [str(name) for name in library.names(table)]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise InputError(f"Cannot score a table with two columns {min(twice)!r}. Rename one.")
    return library


def _pandas_rows(frame: Any) -> Iterator[Mapping[str, object]]:
    names = [str(name) for name in frame.columns]
    for row in frame.itertuples(index=False, name=None):
        yield dict(zip(names, row, strict=True))


def _pandas_extended(frame: Any, values: Values) -> Any:
    pandas = import_module("pandas")
    columns = {
        name: pandas.Series(list(each), index=frame.index, dtype=_pandas_type(each))
        for name, each in values.items()
    }
    return frame.assign(**columns)


def _pandas_type(values: Sequence[object]) -> str:
    """Return the type of a column. A missing reward is NaN, as everywhere in pandas."""
    kinds: set[type] = {type(value) for value in values} - {type(None)}
    usual = {float: "float64", int: "Int64", bool: "boolean"}
    return usual.get(kinds.pop(), "object") if len(kinds) == 1 else "object"


def _polars_extended(frame: Any, values: Values) -> Any:
    polars = import_module("polars")
    return frame.with_columns(
        polars.Series(name, list(each), strict=False) for name, each in values.items()
    )


def _arrow_rows(table: Any) -> Iterator[Mapping[str, object]]:
    for batch in table.to_batches(max_chunksize=_BATCH):
        yield from batch.to_pylist()


def _arrow_extended(table: Any, values: Values) -> Any:
    pyarrow = import_module("pyarrow")
    for name, each in values.items():
        table = table.append_column(name, pyarrow.array(list(each)))
    return table


def _dataset_rows(dataset: Any) -> Iterator[Mapping[str, object]]:
    for batch in dataset.with_format(None).iter(_BATCH):
        for row in zip(*batch.values(), strict=True):
            yield dict(zip(batch, row, strict=True))


def _dataset_extended(dataset: Any, values: Values) -> Any:
    for name, each in values.items():
        dataset = dataset.add_column(name, list(each))
    return dataset


_LIBRARIES: Mapping[tuple[str, str], Library] = {
    ("pandas", "DataFrame"): Library(
        lambda f: f.columns, _pandas_rows, _pandas_extended, is_typed=False
    ),
    ("polars", "DataFrame"): Library(
        lambda f: f.columns, lambda f: f.iter_rows(named=True), _polars_extended
    ),
    ("pyarrow", "Table"): Library(lambda t: t.column_names, _arrow_rows, _arrow_extended),
    ("datasets", "Dataset"): Library(lambda d: d.column_names, _dataset_rows, _dataset_extended),
}
_OTHERS: Mapping[tuple[str, str], str] = {
    ("polars", "LazyFrame"): "It holds no cells yet. Write frame.collect().",
    ("pyarrow", "RecordBatch"): "Write pyarrow.Table.from_batches([batch]).",
    ("datasets", "DatasetDict"): 'It holds several data sets. Name one, such as data["train"].',
    ("datasets", "IterableDatasetDict"): (
        'It holds several data sets. Name one, such as data["train"].'
    ),
    ("pandas", "Series"): "A row is a mapping. Write series.to_frame().",
    ("dask", "DataFrame"): "Write frame.compute(), or score its partitions.",
}
