"""Compare two models on the same rows, by a paired bootstrap."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from reward_client._base.wording import aligned, describe_type
from reward_client._printable import one_line
from reward_client.errors import EvaluationError, InputError
from reward_client.evaluation.catalogue import benchmark_of
from reward_client.evaluation.results import Evaluation
from reward_client.evaluation.units import Parts, Totals, Unit

Path: TypeAlias = tuple[str, ...]

_RESAMPLES = 1_000
_FEWEST = 100
_TAIL = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureDifference:
    """The difference of two models in one number of a benchmark's table.

    Attributes:
        path: The path of the `Measure`.
        a: The value of the first model.
        b: The value of the second one.
        interval: The 95 % interval of ``a - b``: the percentiles 2.5 and 97.5 of the resamples.
        other_sign: The share of the resamples whose difference is 0 or has the other sign.
    """

    path: Path
    a: float
    b: float
    interval: tuple[float, float]
    other_sign: float

    @property
    def difference(self) -> float:
        """The value of the first model minus that of the second one."""
        return self.a - self.b


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelComparison:
    """Two models on the same rows. ``print(comparison)`` shows the table.

    Attributes:
        a: The evaluation of the first model.
        b: The evaluation of the second one.
        measures: The differences. The first one belongs to the headline.
        resamples: The number of resamples.
        seed: The seed of the resamples.
        drawn: What a resample draws, such as ``"pairs"``. Their answers stay together.
    """

    a: Evaluation
    b: Evaluation
    measures: tuple[MeasureDifference, ...]
    resamples: int
    seed: int
    drawn: str

    @property
    def difference(self) -> float:
        """The headline of the first model minus that of the second one."""
        return self.measures[0].difference

    def to_json(self) -> str:
        """Return the comparison as JSON text, with all digits."""
        measures = [
            {
                "path": measure.path,
                "a": measure.a,
                "b": measure.b,
                "difference": measure.difference,
                "interval": measure.interval,
                "other_sign": measure.other_sign,
            }
            for measure in self.measures
        ]
        both = {name: orjson.Fragment(each.to_json()) for name, each in self._evaluations()}
        names = ("difference", "resamples", "seed", "drawn")
        values = {name: getattr(self, name) for name in names}
        result = {**values, "measures": measures, **both}
        return orjson.dumps(result, option=orjson.OPT_INDENT_2).decode()

    def __str__(self) -> str:
        """Format the table for people: shares in percent."""
        lines = [f"{self.a.title}, {self.a.rows:,} rows", *self.models(), ""]
        return "\n".join([*lines, *aligned([self.head(), *self.cells()]), "", *self.remarks()])

    def head(self) -> tuple[str, ...]:
        """Return the names of the table's columns."""
        return "", "A %", "B %", "A - B", "95 % interval", "other sign"

    def cells(self) -> list[tuple[str, ...]]:
        """Return the rows of the table as texts."""
        return [_cells(measure) for measure in self.measures]

    def models(self) -> list[str]:
        """Return a line for each model."""
        return [f"{name.upper()}: {self._described(each)}" for name, each in self._evaluations()]

    def remarks(self) -> Iterator[str]:
        """Iterate over the lines below the table."""
        yield f"{self.a.measures[0].name}: {self.a.rule}"
        yield (
            f"interval and other sign: {self.resamples:,} resamples of the {self.drawn}, seed "
            f"{self.seed}"
        )
        yield from (note for note in self.a.notes if note in self.b.notes)
        yield from (f"A: {note}" for note in self.a.notes if note not in self.b.notes)
        yield from (f"B: {note}" for note in self.b.notes if note not in self.a.notes)

    def _evaluations(self) -> Iterator[tuple[str, Evaluation]]:
        yield "a", self.a
        yield "b", self.b

    def _described(self, evaluation: Evaluation) -> str:
        model = one_line(evaluation.model or "a model that the rows do not name")
        failed = (
            f", failed rows, which count as wrong: {evaluation.failed:,}"
            if evaluation.failed
            else ""
        )
        threshold = evaluation.threshold
        return model + ("" if threshold is None else f", threshold {threshold:g}") + failed


def _cells(measure: MeasureDifference) -> tuple[str, ...]:
    low, high = measure.interval
    return (
        f"{'  ' * (len(measure.path) - 1)}{one_line(measure.path[-1])}",
        f"{100 * measure.a:.2f}",
        f"{100 * measure.b:.2f}",
        f"{100 * measure.difference:+.2f}",
        f"{100 * low:+.2f} to {100 * high:+.2f}",
        f"{measure.other_sign:.3f}",
    )


def compare(
    a: Evaluation, b: Evaluation, *, resamples: int = _RESAMPLES, seed: int = 0
) -> ModelComparison:
    """Compare two models on the same rows of a benchmark, by a paired bootstrap.

    Each resample draws whole prompts, pairs or solutions with replacement, the same ones for both
    models, and as many from each part of the benchmark as it has (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapters 8 and 13).

    Args:
        a: The evaluation of one model.
        b: The evaluation of the other model.
        resamples: The number of resamples.
        seed: The seed of the resamples.

    Raises:
        InputError: If an argument is invalid.
        EvaluationError: If the two evaluations cover other rows.
    """
    _check(a, b, resamples, seed)
    table = benchmark_of(a.benchmark).table
    drawn: dict[Path, list[float]] = {measure.path: [] for measure in a.measures}
    for totals_a, totals_b in _resampled(a.units, b.units, resamples, seed):
        values_b = {measure.path: measure.value for measure in table(totals_b)}
        for measure in table(totals_a):
            drawn[measure.path].append(measure.value - values_b[measure.path])
    values = {measure.path: measure.value for measure in b.measures}
    return ModelComparison(
        a=a,
        b=b,
        measures=tuple(
            _difference(measure.path, measure.value, values[measure.path], drawn[measure.path])
            for measure in a.measures
        ),
        resamples=resamples,
        seed=seed,
        drawn=benchmark_of(a.benchmark).drawn,
    )


def _check(a: object, b: object, resamples: object, seed: object) -> None:
    for each in (a, b):
        if not isinstance(each, Evaluation):
            raise InputError(f"compare() needs two Evaluations, not {describe_type(each)}.")
    if type(resamples) is not int or resamples < _FEWEST:
        raise InputError(f"resamples= must be an integer of at least {_FEWEST}.")
    if type(seed) is not int:
        raise InputError("seed= must be an integer.")
    if isinstance(a, Evaluation) and isinstance(b, Evaluation) and _rows(a) != _rows(b):
        raise EvaluationError(
            f"Cannot compare {a.title} with {b.title}: the rows are not the same, or in another "
            "order. Evaluate both models on the same file."
        )


def _rows(evaluation: Evaluation) -> tuple[str, list[tuple[bytes, str]]]:
    return evaluation.benchmark, [(unit.key, unit.stratum) for unit in evaluation.units]


def _resampled(
    some: Sequence[Unit], others: Sequence[Unit], resamples: int, seed: int
) -> Iterator[tuple[Totals, Totals]]:
    """Yield the totals of both models in each resample.

    Units with the same outcomes for both models are drawn as one kind, whose draws are counted.
    """
    kinds: dict[tuple[Parts, Parts], int] = {}
    strata: dict[str, list[int]] = {}
    for one, other in zip(some, others, strict=True):
        kind = kinds.setdefault((one.parts, other.parts), len(kinds))
        strata.setdefault(one.stratum, []).append(kind)
    outcomes = [*kinds]
    draws = random.Random(seed)  # noqa: S311 - a seed makes comparisons reproducible
    for _ in range(resamples):
        counts: Counter[int] = Counter()
        for members in strata.values():
            counts.update(draws.choices(members, k=len(members)))
        yield (
            Totals.of_counted((outcomes[kind][0], count) for kind, count in counts.items()),
            Totals.of_counted((outcomes[kind][1], count) for kind, count in counts.items()),
        )


def _difference(path: Path, a: float, b: float, drawn: Sequence[float]) -> MeasureDifference:
    ranked = sorted(drawn) or [a - b]
    last = len(ranked) - 1
    opposed = sum(value * (a - b) <= 0 for value in ranked)
    return MeasureDifference(
        path=path,
        a=a,
        b=b,
        interval=(ranked[round(_TAIL * last)], ranked[round((1 - _TAIL) * last)]),
        other_sign=opposed / len(ranked),
    )
