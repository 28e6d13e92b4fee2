"""The columns that a scored file adds to those of the input, from its lines of results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from reward_client._base.json_values import as_mapping
from reward_client._rows.errors import PARTS
from reward_client._rows.layout import Layout, OneLayout
from reward_client._rows.results import added_names


def added_types(
    results: Iterable[Mapping[str, object]], names: Iterable[str], arrow: Any
) -> tuple[dict[str, Any], OneLayout]:
    """Return the columns with their types, and the layout of their values.

    Args:
        results: The results of all rows.
        names: The names of the columns that are there in any case.
        arrow: The module pyarrow.

    Raises:
        InputError: If the rewards of two rows have different layouts.
    """
    layout = OneLayout()
    objectives: dict[str, None] = {}

    def seen() -> Iterator[Mapping[str, object]]:
        for result in results:
            layout.note(result)
            for leaf in _leaves("objectives", result):
                objectives.update(dict.fromkeys(as_mapping(leaf) or ()))
            yield result

    found = added_names(chain(seen(), [dict.fromkeys(names)]))
    return column_types(found, layout.lists, objectives, arrow), layout


def column_types(
    names: Iterable[str],
    lists: Mapping[str | None, bool],
    objectives: Iterable[str],
    arrow: Any,
) -> dict[str, Any]:
    """Return the types of added columns.

    Args:
        names: The names of the columns.
        lists: The sides of the rewards, as `OneLayout` has them.
        objectives: The names of the objectives.
        arrow: The module pyarrow.
    """
    number, integer, text = arrow.float64(), arrow.int64(), arrow.string()
    step = {"value": number, "logits": arrow.list_(number), "start": integer, "end": integer}
    error = arrow.struct([(name, text) for name in PARTS])
    comparison = {"first": text, "second": text, "preference": number, "error": error}
    leaves = {
        "reward": number,
        "objectives": arrow.struct([(name, number) for name in objectives]),
        "step_rewards": arrow.list_(arrow.struct([*step.items()])),
        "truncated": arrow.bool_(),
        "token_count": integer,
        "error": error,
    }
    # The other columns hold a value for each sample.
    whole = {"form": text, "comparisons": arrow.list_(arrow.struct([*comparison.items()]))}

    def laid(leaf: Any) -> Any:
        each = lists or {None: False}
        sides = {name: arrow.list_(leaf) if is_list else leaf for name, is_list in each.items()}
        return sides[None] if None in sides else arrow.struct([*sides.items()])

    return {name: whole[name] if name in whole else laid(leaves[name]) for name in names}


def _leaves(column: str, result: Mapping[str, object]) -> list[object]:
    """Return the value of a column for each sample; the one error of a row that was not read."""
    value = result.get(column)
    if value is None or result.get("form") is None:
        return [value]
    return Layout.read(result.get("reward")).flat(value)
