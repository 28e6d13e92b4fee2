"""The correlation of a stream of points, in constant memory."""

from __future__ import annotations

import math


class Comoments:
    """Running means and sums of products (Welford, Technometrics 4, 1962, p. 419).

    Attributes:
        count: The number of points.
    """

    def __init__(self) -> None:
        self.count = 0
        self._x = self._y = 0.0
        self._xx = self._xy = self._yy = 0.0

    def add(self, x: float, y: float) -> None:
        """Take a point."""
        self.count += 1
        from_x, from_y = x - self._x, y - self._y
        self._x += from_x / self.count
        self._y += from_y / self.count
        self._xx += from_x * (x - self._x)
        self._xy += from_x * (y - self._y)
        self._yy += from_y * (y - self._y)

    def correlation(self) -> float | None:
        """Return the correlation of Pearson, from -1 to 1; None if one quantity never varies."""
        spread = math.sqrt(self._xx) * math.sqrt(self._yy)
        return max(-1.0, min(1.0, self._xy / spread)) if spread > 0 else None
