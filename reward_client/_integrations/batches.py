"""Batches of Ray Data as tables, and rewards as columns that have one type in every batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.wording import describe_type
from reward_client._rows.forms import Columns, read_row
from reward_client._rows.layout import Layout, OneLayout
from reward_client._rows.results import added_names
from reward_client.errors import InputError
from reward_client.files.outputs.added_columns import column_types

_EXAMPLE = "x"
_MOST_OF_A_LIST = 2
"""Dimensions of a NumPy array that is a column of lists, and no column of tensors."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a model's rewards, which are columns.

    Attributes:
        objectives: The names of the objectives.
        has_steps: True if steps have rewards.
    """

    objectives: tuple[str, ...] = ()
    has_steps: bool = False


def table_of(batch: object) -> Any:
    """Return a batch as a ``pyarrow.Table``.

    Args:
        batch: A dict of NumPy arrays, a ``pandas.DataFrame`` or a ``pyarrow.Table``.

    Raises:
        InputError: If it is none of these.
    """
    arrow = import_module("pyarrow")
    columns = as_mapping(batch)
    if columns is not None:
        return arrow.table({name: _column(arrow, values) for name, values in columns.items()})
    if isinstance(batch, arrow.Table):
        return batch
    if type(batch).__name__ == "DataFrame" and type(batch).__module__.startswith("pandas"):
        table = arrow.Table.from_pandas(batch, preserve_index=False)
        return table.replace_schema_metadata(None)
    raise InputError(
        "A batch is a dict of arrays, a DataFrame of pandas or a table of pyarrow, not "
        f"{describe_type(batch)}. Leave out batch_format=, or give one of these."
    )


def _column(arrow: Any, values: Any) -> Any:
    """Return a column of a dict of arrays. Ray itself would pickle lists of messages."""
    dimensions = getattr(values, "ndim", 1)
    if dimensions > _MOST_OF_A_LIST:
        return _column_of_ray(values)
    try:
        return arrow.array(list(values) if dimensions == _MOST_OF_A_LIST else values)
    except (arrow.ArrowException, TypeError, ValueError):
        return _column_of_ray(values)


def _column_of_ray(values: Any) -> Any:
    """Return a column as Ray makes it: tensors, and pickled objects."""
    accessor = import_module("ray.data.block").BlockAccessor
    return accessor.batch_to_arrow_block({_EXAMPLE: values})[_EXAMPLE]


def lists_of(
    schema: Any, form: str | None, columns: Columns | None, read: OneLayout
) -> dict[str | None, bool]:
    """Return the sides of the rewards of all batches with the same columns.

    The rows of a batch may lack a side, or may all be unreadable. Then the types of the columns
    tell the sides, by an example row of these types.

    Args:
        schema: The ``pyarrow.Schema`` of the batch.
        form: The name of the form; None if it is to be recognized.
        columns: The only columns to read.
        read: The layout of the rows that could be read.
    """
    example = {field.name: _example(field.type) for field in schema}
    try:
        layout = read_row(example, form, columns).layout
    except InputError:
        layout = Layout()
    expected = {side: number is not None for side, number in layout.sides}
    if read.lists and (None in read.lists) != (None in expected):
        return read.lists
    order = [*expected, *(side for side in read.lists if side not in expected)]
    known = {**expected, **read.lists}
    return {side: known[side] for side in order}


def _example(kind: Any) -> object:
    """Return a value of a type, such as a conversation for a list of objects."""
    types = import_module("pyarrow").types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        if types.is_struct(kind.value_type):
            return [{"role": role, "content": _EXAMPLE} for role in ("user", "assistant")]
        return [_example(kind.value_type)]
    if types.is_integer(kind):
        return 1
    return _EXAMPLE if types.is_string(kind) or types.is_large_string(kind) else None


def parts_of(added: Sequence[Mapping[str, object]]) -> Parts | None:
    """Return the parts of the rewards in added columns; None if there is no reward."""
    objectives: dict[str, None] = {}
    has_steps = has_reward = False
    for row in added:
        if row.get("form") is None:
            continue
        layout = Layout.read(row.get("reward"))
        for leaf in layout.flat(row.get("objectives")):
            objectives.update(dict.fromkeys(as_mapping(leaf) or ()))
        has_steps = has_steps or any(map(as_list, layout.flat(row.get("step_rewards"))))
        counts = (row.get("reward"), row.get("objectives"))
        has_reward = has_reward or any(
            leaf is not None for column in counts for leaf in layout.flat(column)
        )
    return Parts(tuple(objectives), has_steps) if has_reward else None


def extended(
    table: Any,
    added: Sequence[Mapping[str, object]],
    layout: OneLayout,
    parts: Parts,
    names: Sequence[str],
) -> Any:
    """Return a table with the added columns of its rows.

    Args:
        table: The table.
        added: The added columns of each row.
        layout: The layout of all rewards.
        parts: The parts of all rewards.
        names: The names of the columns by the options of the client.
    """
    arrow = import_module("pyarrow")
    has = {"objectives": bool(parts.objectives), "step_rewards": parts.has_steps}
    parts_there = [name for name, is_there in has.items() if is_there]
    names = added_names([dict.fromkeys([*names, *parts_there])])
    types = column_types(names, layout.lists, parts.objectives, arrow)
    rows = [layout.laid(row) for row in added]
    for name, kind in types.items():
        values = [row.get(name) for row in rows]
        table = table.append_column(arrow.field(name, kind), arrow.array(values, kind))
    return table


def rows_of(table: Any) -> Iterator[Mapping[str, object]]:
    """Iterate over the rows of a table."""
    for batch in table.to_batches():
        yield from cast("list[dict[str, object]]", batch.to_pylist())
