"""The columns that a scored file adds to those of the input, from its lines of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reward_client._base.json_values import as_list, as_mapping
from reward_client._rows.layout import Layout, OneLayout
from reward_client._rows.results import RESULTS


class AddedColumns:
    """The added columns of a file, with what their types need.

    Args:
        results: The results of all rows.

    Attributes:
        names: The names of the columns. Those that every scored file has come first.
    """

    def __init__(self, results: Iterable[Mapping[str, object]]) -> None:
        layout = OneLayout()
        present = {"form", "reward", "error"}
        # The names in the objects of a column, in the order of their first rows.
        self._fields: dict[str, dict[str, None]] = {
            "objectives": {},
            "step_rewards": {},
            "error": {"type": None, "message": None},
        }
        for result in results:
            layout.note(result)
            present.update(result)
            for name in self._fields:
                for leaf in _leaves(result.get(name), result):
                    for item in as_list(leaf) or (leaf,):
                        self._fields[name].update(dict.fromkeys(as_mapping(item) or ()))
        self._lists = layout.lists or {None: False}
        self.names = [name for name in RESULTS if name in present]

    def types(self, arrow: Any) -> list[Any]:
        """Return the type of each column.

        Args:
            arrow: The module pyarrow.
        """
        numbers = arrow.float64()

        def struct(name: str, leaf: Any) -> Any:
            return arrow.struct([(field, leaf) for field in self._fields[name]])

        leaves = {
            "reward": numbers,
            "objectives": struct("objectives", numbers),
            "step_rewards": arrow.list_(struct("step_rewards", numbers)),
            "truncated": arrow.bool_(),
            "token_count": arrow.int64(),
            "error": struct("error", arrow.string()),
        }
        return [
            arrow.string() if name == "form" else self._laid(arrow, leaves[name])
            for name in self.names
        ]

    def _laid(self, arrow: Any, leaf: Any) -> Any:
        sides = {
            name: arrow.list_(leaf) if is_list else leaf for name, is_list in self._lists.items()
        }
        return sides[None] if None in sides else arrow.struct([*sides.items()])


def _leaves(value: object, result: Mapping[str, object]) -> list[object]:
    """Return the value of a column for each sample; the one error of a row that was not read."""
    if result.get("form") is None:
        return [value]
    return Layout.read(result.get("reward")).flat(value)
