"""What was compared with the reference, and how far off the farthest reward was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .torch_process import Reference

# Two float32 implementations of the same sums, seen within 1e-5; absolute, relative above 1.
TOLERANCE = 1e-4


def difference(value: float, expected: float) -> float:
    return abs(value - expected) / max(1.0, abs(expected))


class Ledger:
    """One cell for each model, conversation and client."""

    def __init__(self) -> None:
        self._cells: set[tuple[str, str, str]] = set()
        self._largest = 0.0

    def wrong(
        self,
        model: str,
        client: str,
        values: Mapping[str, float],
        references: Mapping[str, Reference],
    ) -> dict[str, tuple[float, float]]:
        """Those that are off, as (value, expected), after noting all of them."""
        wrong: dict[str, tuple[float, float]] = {}
        for name, value in values.items():
            expected = references[name].reward
            off = difference(value, expected)
            self._cells.add((model, name, client))
            self._largest = max(self._largest, off if math.isfinite(off) else math.inf)
            if not off <= TOLERANCE:  # a NaN is wrong as well
                wrong[name] = value, expected
        return wrong

    def summary(self) -> str:
        """One line, or nothing where nothing was compared."""
        if not self._cells:
            return ""
        return (
            f"{len(self._cells)} cells (model, conversation, client) compared with torch float32; "
            f"largest difference {self._largest:.1e} (absolute, relative above 1)"
        )
