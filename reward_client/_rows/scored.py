"""A scored row: the rewards of its samples, and the comparison of its sides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reward_client._base.json_values import as_mapping
from reward_client._rows.layout import Layout


@dataclass(frozen=True, slots=True)
class Pair:
    """The rewards of a chosen and a rejected side, of one or more samples each.

    Attributes:
        chosen: The rewards of the chosen side.
        rejected: The rewards of the rejected side.
    """

    chosen: Sequence[float]
    rejected: Sequence[float]

    @property
    def margins(self) -> list[float]:
        """The margin of each chosen sample over each rejected one."""
        return [good - bad for good in self.chosen for bad in self.rejected]

    @property
    def margin(self) -> float:
        """The mean of the margins."""
        return math.fsum(self.margins) / len(self.margins)

    @property
    def share_right(self) -> float:
        """The part of the comparisons that chosen wins. A tie counts one half."""
        return math.fsum(map(is_right, self.margins)) / len(self.margins)


def is_right(margin: float) -> float:
    """Return 1 for a margin above 0, 0 for one below, and 0.5 for a tie."""
    return 0.5 if margin == 0 else float(margin > 0)


class RowError(NamedTuple):
    """An error in a result.

    Attributes:
        type: Name of the class of the error.
        message: Message of the error.
    """

    type: str
    message: str


class ScoredRow:
    """A row with its rewards.

    Args:
        columns: The columns of the row, as a file holds them.

    Attributes:
        columns: The columns of the row.
        layout: The layout of the rewards.
        rewards: The reward of each sample; None without one.
    """

    def __init__(self, columns: Mapping[str, object]) -> None:
        self.columns = columns
        self.layout = Layout.read(columns.get("reward"))
        self.rewards = self.numbers("reward")

    def numbers(self, name: str) -> list[float | None]:
        """Return the number of each sample in a column; None for all other values."""
        return [_number(value) for value in self.layout.flat(self.columns.get(name))]

    def side(self, name: str) -> list[float | None]:
        """Return the rewards of a side; an empty list if there is no such side."""
        return [
            reward
            for side, reward in zip(self.sample_sides(), self.rewards, strict=True)
            if side == name
        ]

    def sample_sides(self) -> list[str | None]:
        """Return the name of the side of each sample."""
        return [name for name, count in self.layout.sides for _ in range(_samples(count))]

    def pair(self) -> Pair | None:
        """Return the pair of the row's sides; None without sides, or if a sample has no reward."""
        if len(self.layout.sides) != 2 or None in self.rewards:
            return None
        chosen, rejected = self.side("chosen"), self.side("rejected")
        if not chosen or not rejected:
            return None
        return Pair(
            [reward for reward in chosen if reward is not None],
            [reward for reward in rejected if reward is not None],
        )

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


def _samples(count: int | None) -> int:
    return 1 if count is None else count


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def _row_error(error: Mapping[str, object]) -> RowError:
    return RowError(str(error.get("type", "unknown")), str(error.get("message", "")))
