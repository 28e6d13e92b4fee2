"""Units: what is counted once, and what it adds to the totals of a benchmark.

Every measure of a benchmark is a function of totals. A bootstrap draws units, adds up their parts,
and calls the same function.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

Slot: TypeAlias = tuple[str, ...]
"""The name of a total, such as ``("hep-cpp", "accuracy")``."""

Parts: TypeAlias = tuple[tuple[Slot, float, float], ...]
"""Points and trials by slot."""


@dataclass(frozen=True, slots=True)
class Share:
    """A sum of points, out of the largest sum that was possible.

    Attributes:
        points: The sum of the points.
        count: The number of trials.
    """

    points: float
    count: float

    @property
    def value(self) -> float:
        """The mean, 0 without trials."""
        return self.points / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class Unit:
    """A pair, a prompt or a solution: it is drawn as a whole.

    Attributes:
        key: Identity of the benchmark's row, for paired comparisons.
        stratum: The part of the benchmark whose size is fixed.
        parts: The points and trials that the unit adds to totals.
    """

    key: bytes
    stratum: str
    parts: Parts


class Totals:
    """Totals of units by slot."""

    def __init__(self, sums: Mapping[Slot, tuple[float, float]]) -> None:
        self._sums = sums

    @classmethod
    def of(cls, units: Iterable[Unit]) -> Totals:
        """Add up the parts of units."""
        return cls.of_counted((unit.parts, 1) for unit in units)

    @classmethod
    def of_counted(cls, counted: Iterable[tuple[Parts, int]]) -> Totals:
        """Add up parts, each as often as it was drawn."""
        sums: dict[Slot, tuple[float, float]] = {}
        for parts, times in counted:
            for slot, points, count in parts:
                before = sums.get(slot, (0.0, 0.0))
                sums[slot] = (before[0] + times * points, before[1] + times * count)
        return cls(sums)

    def share(self, *slot: str) -> Share:
        """Return a total; an empty one if no unit has added to it."""
        return Share(*self._sums.get(slot, (0.0, 0.0)))

    def groups(self) -> Iterator[str]:
        """Iterate over the first names of the slots, each once, in the order of the rows."""
        return iter(dict.fromkeys(slot[0] for slot in self._sums))
