"""Evaluate a model on a benchmark: score its file, or read scored rows, and compute the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from reward_client._base.choices import check_flags
from reward_client._base.numeric import is_finite_number
from reward_client._base.wording import count
from reward_client._client.sync_client import RewardClient
from reward_client._printable import one_line
from reward_client._rows.results import refuse_clash
from reward_client.errors import EvaluationError, InputError
from reward_client.evaluation.benchmark import Benchmark
from reward_client.evaluation.catalogue import benchmark_of, check_row
from reward_client.evaluation.results import Evaluation
from reward_client.evaluation.rows import (
    ADDED,
    BenchmarkRow,
    Scored,
    first_row,
    scored_rows,
    unscored_rows,
)
from reward_client.evaluation.units import Totals
from reward_client.files.runner import score_file
from reward_client.files.settings import read_settings, settings_path

_COMPRESSED = (".gz", ".zst")
_FORMATS = (".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".csv", ".tsv")


def evaluate(
    name: str,
    source: str | PathLike[str],
    client: RewardClient,
    *,
    scored: str | PathLike[str] | None = None,
    threshold: float | None = None,
    allow_failed: bool = False,
    retry_failed: bool = False,
    progress: bool = False,
) -> Evaluation:
    """Score the file of a benchmark, or resume that, and compute the benchmark's table.

    Args:
        name: The name of the benchmark, such as ``"rewardbench"``.
        source: Its file as its authors publish it, or a folder of such files.
        client: The client that scores the rows.
        scored: The file for the scored rows, as for `reward_client.files.score_file`. By default
            it lies beside the source, is of JSON lines, and its name ends with ``.scored.jsonl``.
        threshold: The reward up to which a step is wrong; by default the benchmark's own.
        allow_failed: Count failed rows as wrong, instead of refusing to compute a score.
        retry_failed: Score rows again that failed in an earlier run.
        progress: Show a progress bar.

    Raises:
        InputError: If an argument is invalid, or if the file belongs to another benchmark.
        EvaluationError: If rows failed, or do not fit the benchmark.
        FileError: As in `reward_client.files.score_file`.
        ImportError: As in `reward_client.files.score_file`.
        RewardClientError: As in `reward_client.files.score_file`.
    """
    benchmark = benchmark_of(name)
    check_options(benchmark, threshold, allow_failed=allow_failed)
    row = first_row(source)
    if not row:
        raise EvaluationError(f"Cannot evaluate {source}: it has no rows.")
    check_row(benchmark, row)
    refuse_clash(row, ADDED)
    for _ in benchmark.units(unscored_rows(source), 0.0):
        pass  # a row that does not fit is an error now, and not when all others are scored
    destination = scored_path(source) if scored is None else Path(scored)
    score_file(client, source, destination, retry_failed=retry_failed, progress=progress)
    return evaluate_scored(name, destination, threshold=threshold, allow_failed=allow_failed)


def evaluate_scored(
    name: str, scored: Scored, *, threshold: float | None = None, allow_failed: bool = False
) -> Evaluation:
    """Compute a benchmark's table from scored rows.

    Args:
        name: The name of the benchmark, such as ``"rewardbench"``.
        scored: A file that `reward_client.files.score_file` or `evaluate` wrote, or rows of
            ``client.score_rows``.
        threshold: The reward up to which a step is wrong; by default the benchmark's own.
        allow_failed: Count failed rows as wrong, instead of refusing to compute a score.

    Raises:
        InputError: If an argument is invalid, or if the rows belong to another benchmark.
        EvaluationError: If rows failed or are missing, or do not fit the benchmark.
        FileError: If the file cannot be read.
    """
    benchmark = benchmark_of(name)
    check_options(benchmark, threshold, allow_failed=allow_failed)
    limit = benchmark.threshold if threshold is None else threshold
    counted = _Counted(benchmark, scored_rows(scored))
    units = tuple(benchmark.units(iter(counted), limit or 0.0))
    if counted.rows == 0:
        raise EvaluationError("Cannot evaluate: there are no rows.")
    counted.refuse_failed(allow_failed=allow_failed)
    totals = Totals.of(units)
    measures = tuple(benchmark.table(totals))
    return Evaluation(
        benchmark=benchmark.name,
        title=benchmark.title,
        rule=benchmark.rule,
        measures=measures,
        rows=counted.rows,
        failures=dict(counted.failures.most_common()),
        model=_model_of(scored),
        threshold=limit,
        notes=(*benchmark.notes(totals, measures), *counted.notes()),
        units=units,
    )


def is_scored(source: str | PathLike[str]) -> bool:
    """Return True if the first row of a file has a reward.

    Raises:
        FileError: If the file cannot be read.
        InputError: If the row is no JSON object.
    """
    return "reward" in first_row(source)


def scored_path(source: str | PathLike[str]) -> Path:
    """Return the path of the scored rows that belong to the file of a benchmark."""
    path = Path(source)
    for suffixes in (_COMPRESSED, _FORMATS):
        if path.suffix.lower() in suffixes:
            path = path.with_suffix("")
    return path.with_name(f"{path.name}.scored.jsonl")


def check_options(benchmark: Benchmark, threshold: object, *, allow_failed: bool) -> None:
    """Check the options of an evaluation.

    Raises:
        InputError: If one is invalid.
    """
    check_flags(allow_failed=allow_failed)
    if threshold is None:
        return
    if benchmark.threshold is None:
        raise InputError(f"Cannot use threshold=: {benchmark.title} has no rewards of steps.")
    if not is_finite_number(threshold):
        raise InputError("threshold= must be a number.")


class _Counted:
    """The rows of a benchmark on their way, counted.

    Attributes:
        rows: The number of rows so far.
        failures: The number of failed rows so far, by the type of their first error.
    """

    def __init__(self, benchmark: Benchmark, rows: Iterator[BenchmarkRow]) -> None:
        self.rows = 0
        self.failures: Counter[str] = Counter()
        self._benchmark = benchmark
        self._given = rows
        self._first = ""
        self._keys: set[bytes] = set()
        self._repeated = 0

    def __iter__(self) -> Iterator[BenchmarkRow]:
        for row in self._given:
            if row.error is not None and not row.columns:
                raise row.problem(f"it could not be read ({one_line(row.error.message)})")
            if self.rows == 0:
                check_row(self._benchmark, row.columns)
            self.rows += 1
            if row.error is not None:
                self.failures[row.error.type] += 1
                self._first = self._first or f"row {row.position}: {one_line(row.error.message)}"
            self._repeated += row.key in self._keys
            self._keys.add(row.key)
            yield row

    def refuse_failed(self, *, allow_failed: bool) -> None:
        """Refuse to compute a score from rows without rewards, unless the caller allows it.

        Raises:
            EvaluationError: If rows failed.
        """
        if not self.failures or (allow_failed and self.failures.total() < self.rows):
            return
        advice = (
            "Score them again (retry_failed=True), or count them as wrong (allow_failed=True)."
            if self.failures.total() < self.rows
            else "Remove the cause, and score them again (retry_failed=True)."
        )
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in self.failures.most_common())
        raise EvaluationError(
            f"Cannot compute the score: {self.failures.total():,} of {count(self.rows, 'row')} "
            f"failed ({kinds}). The first is {self._first} {advice}"
        )

    def notes(self) -> Iterator[str]:
        """Iterate over what a reader has to know about the rows."""
        published = self._benchmark.published
        if published not in (None, self.rows):
            yield f"the published file has {published:,} rows, and this one {self.rows:,}"
        if self._repeated:
            yield f"rows that repeat an earlier one, and count again: {self._repeated:,}"


def _model_of(scored: Scored) -> str | None:
    """Return the name of the model in the settings beside a scored file."""
    if not isinstance(scored, str | PathLike) or not settings_path(Path(scored)).is_file():
        return None
    return read_settings(Path(scored)).model
