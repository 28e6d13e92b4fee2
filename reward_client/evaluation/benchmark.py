"""A benchmark: the rows of its file, its rule, and its table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from reward_client._base.arrays import to_builtin
from reward_client._base.json_values import as_mapping, as_sequence
from reward_client.evaluation.measures import Measure
from reward_client.evaluation.rows import BenchmarkRow
from reward_client.evaluation.units import Slot, Totals, Unit

Row: TypeAlias = Mapping[str, object]
Units: TypeAlias = Callable[[Iterable[BenchmarkRow], float], Iterator[Unit]]

NOTED = ""
"""The first name of slots that are no part of the table, but of its notes."""
EQUAL = (NOTED, "equal")
UNDECIDED = (NOTED, "undecided")
HALVED = (NOTED, "halved")
SILENT = (NOTED, "silent")
UNRATED = (NOTED, "unrated")
LEFT_OUT = (NOTED, "left out")
REPEATED = (NOTED, "repeated")
_NOTES = {
    EQUAL: "with equal rewards for a better and a worse answer",
    UNDECIDED: "whose verdicts are a tie or opposite, which is not right",
    HALVED: "whose verdicts are a tie or opposite, which is half right",
    SILENT: "with a text without a verdict, where it counts as a tie instead",
    UNRATED: "of Ties, left out: they need ratings, and a judge of two gives none",
    LEFT_OUT: "without a winner, left out",
    REPEATED: "that repeat an earlier one, left out",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: The name for callers, such as ``rewardbench``.
        title: The name that its authors gave it.
        paper: Its source, such as ``arXiv 2403.13787``.
        home: Where its file is published; a data set of the Hugging Face hub unless it says so.
        needs: The columns of its file, in words.
        rule: The rule of its headline, in one sentence.
        fits: Returns True for a row of its file.
        units: Turns scored rows, and the threshold of step rewards, into units.
        table: Makes the measures from totals. The first one is the headline.
        drawn: What a unit is, in the plural, such as ``"pairs"``.
        published: The number of rows of the published file; None if it has several files.
        parts: The published parts that the headline is a mean of.
        threshold: The default for the rewards of steps; None without steps.
    """

    name: str
    title: str
    paper: str
    home: str
    needs: str
    rule: str
    fits: Callable[[Row], bool]
    units: Units
    table: Callable[[Totals], Sequence[Measure]]
    drawn: str
    published: int | None = None
    parts: tuple[str, ...] = ()
    threshold: float | None = None

    def notes(self, totals: Totals, measures: Sequence[Measure]) -> Iterator[str]:
        """Iterate over what a reader of the table has to know."""
        present = {measure.path[0] for measure in measures if len(measure.path) == 1}
        missing = [part for part in self.parts if part not in present]
        if missing:
            parts = ", ".join(missing)
            yield f"no score of {parts} for lack of rows: {measures[0].name} covers the other parts"
        for slot, note in _NOTES.items():
            if points := totals.share(*slot).points:
                yield f"{self.drawn} {note}: {points:,.0f}"


def undecided(row: BenchmarkRow) -> Slot:
    """Return the slot of a row whose better answer is not preferred, nor a worse one."""
    return UNDECIDED if row.scored.comparisons else EQUAL


def ordered(groups: Iterable[str], first: Sequence[str]) -> list[str]:
    """Return the groups of a table: the published ones in their order, then all others."""
    names = [name for name in groups if name != NOTED]
    return [name for name in first if name in names] + [name for name in names if name not in first]


def each(
    unit: Callable[[BenchmarkRow], Unit],
) -> Callable[[Iterable[BenchmarkRow], float], Iterator[Unit]]:
    """Return the units of a benchmark whose rows do not depend on each other."""
    return lambda rows, _: map(unit, rows)


def is_text(value: object) -> bool:
    """Return True for a text, or for a list of messages, which stands for one response."""
    if isinstance(value, str):
        return True
    items = as_sequence(to_builtin(value))
    return bool(items) and all("role" in (as_mapping(item) or {}) for item in items or ())


def is_list_of(value: object, kind: type | tuple[type, ...], length: int | None = None) -> bool:
    """Return True for a list with values of one type only, and of a length if one is given."""
    items = as_sequence(to_builtin(value))
    return (
        bool(items)
        and all(isinstance(item, kind) for item in items or ())
        and length in (None, len(items or ()))
    )
