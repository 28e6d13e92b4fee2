"""What was compared with the reference, and how far off the farthest number was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reward_client import RewardClientError

Numbers: TypeAlias = float | Sequence[float]

# The client in a `Way` of an export that no server answered.
LIBRARY = "sentence-transformers"

# Two float32 implementations of the same sums, seen within 1e-5; absolute, relative above 1.
TOLERANCE = 1e-4
# bfloat16 keeps eight bits of each factor.
TOLERANCES = {"float32": TOLERANCE, "bfloat16": 1e-2}


class Way(NamedTuple):
    """How numbers were had."""

    model: str
    client: str
    head: str = "auto"
    route: str = "auto"
    dtype: str = "float32"


def difference(value: Numbers, expected: Numbers) -> float:
    """Of the numbers that differ most; infinite if they are not as many, or not finite."""
    ours = value if isinstance(value, Sequence) else [value]
    theirs = expected if isinstance(expected, Sequence) else [expected]
    if len(ours) != len(theirs) or not all(map(math.isfinite, ours)):
        return math.inf
    pairs = zip(ours, theirs, strict=True)
    return max(abs(one - other) / max(1.0, abs(other)) for one, other in pairs)


class Ledger:
    """One cell for each model, head, route, conversation and client.

    Args:
        engine: The name of the kind of server.
        exports: The models that are exported checkpoints.
    """

    def __init__(self, engine: str, exports: Collection[str] = ()) -> None:
        self._engine = engine
        self._exports = exports
        self._cells: dict[str, dict[tuple[Way, str], float]] = {name: {} for name in TOLERANCES}
        self._refusals: dict[tuple[str, str], int] = {}
        self._beside: dict[tuple[str, str], list[float]] = {}

    def wrong(
        self, way: Way, values: Mapping[str, Numbers], expected: Mapping[str, Numbers]
    ) -> dict[str, tuple[Numbers, Numbers]]:
        """Those that are off, as (value, expected), after noting all of them."""
        wrong: dict[str, tuple[Numbers, Numbers]] = {}
        cells = self._cells[way.dtype]
        for name, value in values.items():
            off = difference(value, expected[name])
            cells[way, name] = max(off, cells.get((way, name), 0.0))
            if off > TOLERANCES[way.dtype]:
                wrong[name] = value, expected[name]
        return wrong

    def refuse(self, name: str, error: RewardClientError) -> None:
        """Note a sample that was refused, in place of a cell."""
        key = name, f"{type(error).__name__}: {error}"
        self._refusals[key] = self._refusals.get(key, 0) + 1

    def compare(self, model: str, engine: str, off: Mapping[str, float]) -> None:
        """Note the differences from what another engine answers, by sample."""
        self._beside.setdefault((model, engine), []).extend(off.values())

    def summary(self) -> list[str]:
        """A line for each type that servers computed in, each export, refusal and other engine."""
        beside = [
            f"{model}: {self._engine} beside {engine}: {len(off)} rewards, "
            f"largest difference {max(off):.1e}"
            for (model, engine), off in self._beside.items()
        ]
        refusals = [
            f"refused {count} times: {name}: {error}"
            for (name, error), count in self._refusals.items()
        ]
        return [*self._of_servers(), *self._of_exports(), *beside, *refusals]

    def _of_servers(self) -> list[str]:
        by_servers = {
            dtype: [off for (way, _), off in cells.items() if way.client != LIBRARY]
            for dtype, cells in self._cells.items()
        }
        return [
            f"{len(all_off)} cells (model, head, route, conversation, client) of {dtype} servers "
            f"compared with torch float32; largest difference {max(all_off):.1e} "
            "(absolute, relative above 1)"
            for dtype, all_off in by_servers.items()
            if all_off
        ]

    def _of_exports(self) -> list[str]:
        """The largest differences, by what read the folder."""
        largest: dict[str, dict[str, float]] = {}
        for (way, _), off in self._cells["float32"].items():
            if way.model in self._exports:
                readers = largest.setdefault(way.model, {})
                reader = LIBRARY if way.client == LIBRARY else self._engine
                readers[reader] = max(off, readers.get(reader, 0.0))
        return [
            f"{model}: " + ", ".join(f"{reader} {off:.1e}" for reader, off in readers.items())
            for model, readers in largest.items()
        ]
