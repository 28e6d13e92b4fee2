"""The fields of one row, and which of them a sample was made of."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from decimal import Decimal

from reward_client._base.arrays import to_builtin

NUMBERS = (int, float, Decimal)

_MISSING = ("NAType", "NaTType")
"""The classes of missing values in pandas; other libraries have None, and NaN in numbers."""


class Fields:
    """The fields of a row that have a value, and can be a part of a sample: no number is one.

    Tables hold null for a field that a row lacks, and often an empty text, list or object. Values
    of other libraries become Python's own.

    Args:
        row: The row. Keys that are no text are names in their text form.
    """

    def __init__(self, row: Mapping[str, object]) -> None:
        self._row = row
        plain = ((str(name), to_builtin(value)) for name, value in row.items())
        self._values = {name: value for name, value in plain if not _is_missing(value)}
        self._taken: set[str] = set()

    def __contains__(self, name: object) -> bool:
        value = self._values.get(str(name))
        return value is not None and not isinstance(value, NUMBERS)

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._values if name in self)

    def without_text(self, names: Container[str]) -> list[str]:
        """Return those of the names that the row has, but without a value or with a number."""
        given = map(str, self._row)
        return [name for name in given if name in names and name not in self]

    def take(self, name: str) -> object:
        """Return the value of a field, and note that it was read."""
        self._taken.add(name)
        return self._values.get(name)

    def present(self, names: Iterable[str]) -> list[str]:
        """Return those of the names with a value. A number is a fact about such a field."""
        return [name for name in names if name in self]

    def filled(self, names: Container[str]) -> list[str]:
        """Return those of the names with a value that is no empty text, list or object."""
        return [name for name in self if name in names and not is_empty(self._values[name])]

    def ignore(self, names: Iterable[str]) -> None:
        """Note that nothing is lost if these fields are not read."""
        self._taken.update(names)

    def unread(self) -> Iterator[tuple[str, object]]:
        """Iterate over the names and values that no sample is made of; empty values left out."""
        for name, value in self._values.items():
            if name not in self._taken and not is_empty(value):
                yield name, value


def is_empty(value: object) -> bool:
    """Return True for an empty text, list or object."""
    return isinstance(value, str | list | tuple | dict) and not value


def _is_missing(value: object) -> bool:
    if value is None or type(value).__name__ in _MISSING:
        return True
    return isinstance(value, float | Decimal) and value != value
