"""The layout of the values of a row."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self, TypeVar

from reward_client._base.json_values import as_list, as_mapping, is_list
from reward_client.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of a row's rewards: one value, a list, or a dict of sides with either.

    Attributes:
        sides: The name of each side, None without sides, and the number of its samples; None for
            a single one, which is no list.
    """

    sides: tuple[tuple[str | None, int | None], ...] = ((None, None),)

    @classmethod
    def read(cls, rewards: object) -> Self:
        """Return the layout of the rewards of a row, which `of` has made."""
        sides = as_mapping(rewards)
        if sides is None:
            return cls.cached(((None, len(rewards) if is_list(rewards) else None),))
        return cls.cached(
            tuple((name, len(side) if is_list(side) else None) for name, side in sides.items())
        )

    @classmethod
    @functools.lru_cache(maxsize=1024)
    def cached(cls, sides: tuple[tuple[str | None, int | None], ...]) -> Self:
        """Return the layout of sides, one object for all rows that have it."""
        return cls(sides)

    def flat(self, laid: object) -> list[object]:
        """Return the value of each sample from a column: the reverse of `of`.

        Args:
            laid: The column. A part of another layout counts as None for each of its samples.
        """
        named = as_mapping(laid) or {}
        values: list[object] = []
        for name, count in self.sides:
            side = laid if name is None else named.get(name)
            if count is None:
                values.append(side)
            else:
                items = list(islice(as_list(side) or (), count))
                values += [*items, *[None] * (count - len(items))]
        return values

    @property
    def samples(self) -> int:
        """The number of samples."""
        return sum(1 if count is None else count for _, count in self.sides)

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


class OneLayout:
    """The layout that all rewards of a typed column have. A side may be missing in a row.

    Attributes:
        lists: The sides, None without sides, and True for each that is a list.
    """

    def __init__(self) -> None:
        self.lists: dict[str | None, bool] = {}

    def check(self, layout: Layout) -> None:
        """Check the layout of a row, and take note of it.

        Raises:
            InputError: If the rewards of earlier rows have another layout.
        """
        lists = {side: number is not None for side, number in layout.sides}
        for name, is_list_ in lists.items():
            has_other_sides = bool(self.lists) and (name is None) != (None in self.lists)
            if has_other_sides or self.lists.get(name, is_list_) != is_list_:
                raise InputError(
                    f"Cannot write the rewards of this row ({_described(lists)}) into the column "
                    f"of the rows before it ({_described(self.lists)}). Name the form of the rows "
                    "(form=), or use a list of rows or JSON lines, where each may have its own."
                )
        self.lists |= lists

    def note(self, result: Mapping[str, object]) -> None:
        """Take note of the layout of a row with a result."""
        if result.get("form") is not None:
            self.check(Layout.read(result.get("reward")))

    def laid(self, result: Mapping[str, object]) -> Mapping[str, object]:
        """Return a result in this layout: a row that was not read has its error on each side."""
        error = result.get("error")
        if error is None or result.get("form") is not None:
            return result
        sides = {name: [error] if is_list_ else error for name, is_list_ in self.lists.items()}
        return {**result, "error": sides.get(None, sides or error)}


def _described(lists: Mapping[str | None, bool]) -> str:
    kinds = {name: "a list" if is_list_ else "a number" for name, is_list_ in lists.items()}
    return ", ".join(kind if name is None else f"{name}: {kind}" for name, kind in kinds.items())
