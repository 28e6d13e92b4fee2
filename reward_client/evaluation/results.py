"""The results of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from reward_client._base.wording import aligned, count
from reward_client._printable import one_line
from reward_client.evaluation.measures import Measure
from reward_client.evaluation.units import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The score of a model on a benchmark, with its table. ``print(evaluation)`` shows it.

    Attributes:
        benchmark: The name of the benchmark, such as ``rewardbench``.
        title: The name that its authors gave it.
        rule: The rule of the headline, in one sentence.
        measures: The table. The first measure is the headline.
        rows: The number of rows, failed ones included.
        failures: The number of failed rows by the type of their first error. They count as wrong.
        model: The name of the model that gave the rewards; None if the rows do not tell.
        threshold: The threshold of the rewards of steps; None for benchmarks without steps.
        notes: What a reader of the table has to know, such as parts without rows.
    """

    benchmark: str
    title: str
    rule: str
    measures: tuple[Measure, ...]
    rows: int
    failures: dict[str, int]
    model: str | None
    threshold: float | None
    notes: tuple[str, ...]
    units: tuple[Unit, ...] = field(repr=False, compare=False)

    @property
    def value(self) -> float:
        """The headline, from 0 to 1."""
        return self.measures[0].value

    @property
    def failed(self) -> int:
        """The number of failed rows."""
        return sum(self.failures.values())

    def to_json(self) -> str:
        """Return the evaluation as JSON text, with all digits."""
        measures = [
            {
                "path": measure.path,
                "value": measure.value,
                "count": measure.count,
                "interval": measure.interval,
            }
            for measure in self.measures
        ]
        names = ("benchmark", "title", "rule", "model", "threshold", "rows", "failed", "failures")
        values = {name: getattr(self, name) for name in names}
        result = {**values, "value": self.value, "measures": measures, "notes": self.notes}
        return orjson.dumps(result, option=orjson.OPT_INDENT_2).decode()

    def __str__(self) -> str:
        """Format the table for people: shares in percent."""
        model = f", {one_line(self.model)}" if self.model else ""
        failed = f", {self.failed:,} failed" if self.failed else ""
        lines = [f"{self.title}{model}: {count(self.rows, 'row')}{failed}", ""]
        return "\n".join([*lines, *aligned([self.head(), *self.cells()]), "", *self.remarks()])

    def head(self) -> tuple[str, ...]:
        """Return the names of the table's columns."""
        return "", "%", "95 % interval", "n"

    def cells(self) -> list[tuple[str, ...]]:
        """Return the rows of the table as texts."""
        return [
            (
                f"{'  ' * (len(measure.path) - 1)}{one_line(measure.name)}",
                f"{100 * measure.value:.2f}",
                _interval(measure),
                f"{measure.count:,}",
            )
            for measure in self.measures
        ]

    def remarks(self) -> Iterator[str]:
        """Iterate over the lines below the table."""
        yield f"{self.measures[0].name}: {self.rule}"
        if self.threshold is not None:
            yield f"a step is wrong if its reward is at most {self.threshold:g}"
        if self.failures:
            kinds = ", ".join(f"{number:,} {kind}" for kind, number in self.failures.items())
            yield f"failed rows count as wrong: {kinds}"
        yield from self.notes


def _interval(measure: Measure) -> str:
    if measure.interval is None:
        return ""
    low, high = measure.interval
    return f"{100 * low:.1f} to {100 * high:.1f}"
