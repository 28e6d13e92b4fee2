"""A scored row: the rewards of its samples, and the comparison of its sides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

from reward_client._base.json_values import as_list, as_mapping
from reward_client._rows.layout import Layout


class Pair:
    """The rewards of a chosen and a rejected side, of one or more samples each.

    Args:
        chosen: The rewards of the chosen side.
        rejected: The rewards of the rejected side.

    Attributes:
        chosen: The rewards of the chosen side.
        rejected: The rewards of the rejected side.
        margins: The margin of each chosen sample over each rejected one.
        margin: The mean of the margins.
        share_right: The part of the comparisons that chosen wins. A tie counts one half.
    """

    __slots__ = ("chosen", "margin", "margins", "rejected", "share_right")

    def __init__(self, chosen: Sequence[float], rejected: Sequence[float]) -> None:
        self.chosen = chosen
        self.rejected = rejected
        self.margins = [good - bad for good in chosen for bad in rejected]
        self.margin = math.fsum(self.margins) / len(self.margins)
        self.share_right = math.fsum(map(is_right, self.margins)) / len(self.margins)


def is_right(margin: float) -> float:
    """Return 1 for a margin above 0, 0 for one below, and 0.5 for a tie."""
    return 0.5 if margin == 0 else float(margin > 0)


T = TypeVar("T")


class RowError(NamedTuple):
    """An error in a result.

    Attributes:
        type: Name of the class of the error.
        message: Message of the error.
    """

    type: str
    message: str


class Compared(NamedTuple):
    """A judge's comparison of two responses of a row.

    Attributes:
        first: The name of the response that the judge read first.
        second: The name of the other response.
        preference: From -1 (the second is better) to 1 (the first is); None without a verdict.
        error: The error in the place of a verdict.
    """

    first: str
    second: str
    preference: float | None
    error: RowError | None


class ScoredRow:
    """A row with its rewards.

    Args:
        columns: The columns of the row, as a file holds them.

    Attributes:
        columns: The columns of the row.
        layout: The layout of the rewards.
        rewards: The reward of each sample; None without one.
        pair: The pair of the row's sides; None without sides, or if a sample has no reward.
    """

    def __init__(self, columns: Mapping[str, object]) -> None:
        self.columns = columns
        self.layout = Layout.read(columns.get("reward"))
        self.rewards = self.numbers("reward")
        self.pair = self._pair() if len(self.layout.sides) == 2 else None

    def numbers(self, name: str) -> list[float | None]:
        """Return the number of each sample in a column; None for all other values."""
        return [number(value) for value in self.layout.flat(self.columns.get(name))]

    def side(self, name: str) -> list[float | None]:
        """Return the rewards of a side; an empty list if there is no such side."""
        return self.of_side(name, self.rewards)

    def of_side(self, name: str, values: list[T]) -> list[T]:
        """Return the values of a side, of one for each sample of the row."""
        return values[self._places.get(name, slice(0))]

    def names_of(self, side: str) -> list[str]:
        """Return the names of a side's samples, as comparisons have them."""
        return self.of_side(side, [*self.layout.sample_names()])

    @cached_property
    def _places(self) -> Mapping[str | None, slice]:
        """The places of the samples of each side."""
        places: dict[str | None, slice] = {}
        start = 0
        for name, count in self.layout.sides:
            end = start + (1 if count is None else count)
            places[name] = slice(start, end)
            start = end
        return places

    @cached_property
    def token_counts(self) -> list[float | None]:
        """The number of tokens of each sample; None where it is unknown."""
        return self.numbers("token_count")

    def _pair(self) -> Pair | None:
        if None in self.rewards:
            return None
        chosen, rejected = self.side("chosen"), self.side("rejected")
        if not chosen or not rejected:
            return None
        return Pair(
            [reward for reward in chosen if reward is not None],
            [reward for reward in rejected if reward is not None],
        )

    @cached_property
    def comparisons(self) -> tuple[Compared, ...]:
        """The comparisons behind the rewards; none if each response has a reward of its own."""
        given = self.columns.get("comparisons")
        return () if given is None else tuple(map(_compared, as_list(given) or ()))

    def errors(self) -> tuple[RowError | None, ...]:
        """Return the error of each sample, with None for each sample that has a reward.

        Returns:
            An empty tuple for a row without errors.
        """
        laid = self.columns.get("error")
        if laid is None:
            return ()
        mapping = as_mapping(laid)
        if mapping is not None and isinstance(mapping.get("type"), str):
            return (_row_error(mapping),)
        return tuple(
            None if item is None else _row_error(as_mapping(item) or {})
            for item in Layout.read(laid).flat(laid)
        )


def number(value: object) -> float | None:
    """Return a value that is a finite number; None for any other one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def _compared(value: object) -> Compared:
    given = as_mapping(value) or {}
    error = as_mapping(given.get("error"))
    return Compared(
        str(given.get("first")),
        str(given.get("second")),
        number(given.get("preference")),
        None if error is None else _row_error(error),
    )


def _row_error(error: Mapping[str, object]) -> RowError:
    return RowError(str(error.get("type", "unknown")), str(error.get("message", "")))
