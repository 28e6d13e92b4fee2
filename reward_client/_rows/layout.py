"""The layout of the values of a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a row's rewards: one value, a list, or a dict of sides with either.

    Attributes:
        sides: The name of each side, None without sides, and the number of its samples; None for
            a single one, which is no list.
    """

    sides: tuple[tuple[str | None, int | None], ...] = ((None, None),)

    def of(self, values: Sequence[T]) -> object:
        """Return one value for each sample in the layout."""
        rest = iter(values)
        laid = {
            name: next(rest) if count is None else [next(rest) for _ in range(count)]
            for name, count in self.sides
        }
        return laid.get(None, laid)

    def sample_names(self) -> Iterator[str]:
        """Iterate over the names of the samples, such as ``chosen`` and ``rejected[1]``."""
        for side, count in self.sides:
            name = side or ""
            yield from [name] if count is None else [f"{name}[{index}]" for index in range(count)]
