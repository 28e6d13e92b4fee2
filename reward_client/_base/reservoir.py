"""A uniform sample of a stream of numbers, in constant memory."""

from __future__ import annotations

import random
from array import array
from collections.abc import Mapping

SIZE = 50_000
"""The largest sample. A quantile of it has a standard error of at most 0.23 % of rank."""
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Reservoir:
    """Minimum, maximum and a uniform sample (reservoir sampling, algorithm R of Vitter, 1985).

    The seed is fixed, so that the same stream gives the same sample.

    Args:
        width: The number of values that belong together, such as 2 for points.

    Attributes:
        count: The number of items of the stream.
    """

    def __init__(self, width: int = 1) -> None:
        self.count = 0
        self._width = width
        self._values = array("d")
        self._random = random.Random(0)  # noqa: S311 - a fixed seed makes summaries reproducible

    def add(self, *values: float) -> None:
        """Take an item of the stream."""
        self.count += 1
        if self.count <= SIZE:
            self._values.extend(values)
            return
        index = self._random.randrange(self.count)
        if index < SIZE:
            start = index * self._width
            for place, value in enumerate(values, start):
                self._values[place] = value

    @property
    def is_whole(self) -> bool:
        """True if the sample holds the whole stream."""
        return self.count <= SIZE

    def column(self, index: int = 0) -> array[float]:
        """Return the sampled values at one place of their items."""
        return self._values[index :: self._width]


class Distribution(Reservoir):
    """A sample of single numbers, with the minimum and maximum of all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.low = float("inf")
        self.high = float("-inf")

    def add(self, *values: float) -> None:
        """Take the next numbers."""
        for value in values:
            if value < self.low:
                self.low = value
            if value > self.high:
                self.high = value
            super().add(value)

    def ranked(self) -> list[float]:
        """Return the sample in order."""
        return sorted(self.column())

    def quantiles(self) -> Mapping[str, float]:
        """Return ``min``, ``5%``, ``25%``, ``50%``, ``75%``, ``95%`` and ``max``; {} of nothing."""
        ranked = self.ranked()
        if not ranked:
            return {}
        middle = {f"{share:.0%}": ranked[round(share * (len(ranked) - 1))] for share in _QUANTILES}
        return {"min": self.low, **middle, "max": self.high}
