"""Benchmarks of process reward models: which step of a solution is the first wrong one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from reward_client.errors import EvaluationError
from reward_client.evaluation.benchmark import (
    REPEATED,
    Benchmark,
    Row,
    is_list_of,
    ordered,
)
from reward_client.evaluation.measures import Measure, accuracy, mean
from reward_client.evaluation.rows import BenchmarkRow
from reward_client.evaluation.units import Totals, Unit

_THRESHOLD = 0.5
"""`run_eval_prm_trl.py` of QwenLM/ProcessBench takes the larger of two logits, and
`validity_threshold` of ssmisya/PRMBench is 0.5. A step at the threshold is wrong for both."""

_ERROR, _CORRECT = "wrong solutions", "correct solutions"
_SUBSETS = ("gsm8k", "math", "olympiadbench", "omnimath")

# The categories of PRMBench, table 1 of the paper, by the names of its files.
_CATEGORIES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "simplicity": ("redundency", "circular"),
        "soundness": (
            *("counterfactual", "step_contradiction"),
            *("domain_inconsistency", "confidence"),
        ),
        "sensitivity": ("missing_condition", "deception", "multi_solutions"),
    }
)
_WITHOUT_ERRORS = "multi_solutions"
_CELLS = ("tp", "fp", "tn", "fn")


def _is_processbench(row: Row) -> bool:
    return {"problem", "label"} <= row.keys() and is_list_of(row.get("steps"), str)


def _processbench_units(rows: Iterable[BenchmarkRow], threshold: float) -> Iterator[Unit]:
    for row in rows:
        steps, label = row.list_of("steps"), row.columns.get("label")
        if not isinstance(label, int) or not -1 <= label < len(steps):
            raise row.problem("its label is neither the position of a step nor -1")
        # Failed rows are wrong, and no label says -2.
        found = -2 if row.error is not None else _first_wrong(row.steps(len(steps)), threshold)
        subset = str(row.columns.get("id", "all")).partition("-")[0]
        kind = _CORRECT if label == -1 else _ERROR
        yield Unit(row.key, f"{subset}/{kind}", (((subset, kind), float(found == label), 1.0),))


def _first_wrong(rewards: Sequence[float], threshold: float) -> int:
    return next((place for place, reward in enumerate(rewards) if reward <= threshold), -1)


def _processbench_table(totals: Totals) -> list[Measure]:
    parts: list[Measure] = []
    below: list[Measure] = []
    for subset in ordered(totals.groups(), _SUBSETS):
        kinds = [
            accuracy((subset, kind), totals.share(subset, kind)) for kind in (_ERROR, _CORRECT)
        ]
        kinds = [kind for kind in kinds if kind.count]
        if len(kinds) == 2:
            parts.append(_harmonic((subset,), *kinds))
            below.append(parts[-1])
        below += kinds
    if not parts:
        raise EvaluationError(
            "Cannot compute F1: no subset has both a wrong and a correct solution. Give the whole "
            "file."
        )
    return [mean(("F1",), parts), *below]


def _harmonic(path: tuple[str, ...], one: Measure, other: Measure) -> Measure:
    """Return the harmonic mean of two measures; 0 if both are."""
    total = one.value + other.value
    value = 2 * one.value * other.value / total if total else 0.0
    return Measure(path=path, value=value, count=one.count + other.count)


def _is_prmbench(row: Row) -> bool:
    return {"modified_question", "error_steps", "classification"} <= row.keys() and is_list_of(
        row.get("modified_process"), str
    )


def _prmbench_units(rows: Iterable[BenchmarkRow], threshold: float) -> Iterator[Unit]:
    seen: set[tuple[str, object]] = set()
    for row in rows:
        category = row.text_of("classification")
        # `load_data_function` of PRMBench keeps the first row of an idx in each category.
        name = (category, row.columns.get("idx", row.position))
        if name in seen:
            yield Unit(row.key, "repeated", ((REPEATED, 1.0, 1.0),))
            continue
        seen.add(name)
        cells = _confusion(row, threshold)
        parts = [((category, cell), float(cells[cell]), 1.0) for cell in _CELLS]
        yield Unit(row.key, category, tuple(parts))


def _confusion(row: BenchmarkRow, threshold: float) -> dict[str, int]:
    """Count the steps by label and prediction, where a correct step is positive."""
    steps = row.list_of("modified_process")
    # Some published rows name a step after the last one, which the authors' loop never meets.
    wrong = {place - 1 for place in row.list_of("error_steps") if isinstance(place, int)}
    rewards = None if row.error is not None else row.steps(len(steps))
    cells: dict[str, int] = dict.fromkeys(_CELLS, 0)
    for place in range(len(steps)):
        is_wrong = place in wrong
        says_wrong = not is_wrong if rewards is None else rewards[place] <= threshold
        cells[("tn" if says_wrong else "fp") if is_wrong else ("fn" if says_wrong else "tp")] += 1
    return cells


def _prmbench_table(totals: Totals) -> list[Measure]:
    known = [name for group in _CATEGORIES.values() for name in group]
    present = ordered(totals.groups(), known)
    scores = {name: _prm_score((name,), totals, [name]) for name in present}
    whole = _prm_score(("PRMScore",), totals, present)
    table = [
        whole,
        Measure(path=("F1",), value=_f1(totals, present, "tp", "fp", "fn"), count=whole.count),
        Measure(
            path=("negative F1",), value=_f1(totals, present, "tn", "fn", "fp"), count=whole.count
        ),
    ]
    for group, names in _CATEGORIES.items():
        parts = [
            Measure(path=(group, name), value=scores[name].value, count=scores[name].count)
            for name in names
            if name in scores
        ]
        table += [mean((group,), parts), *parts] if parts else []
    return table + [score for name, score in scores.items() if name not in known]


def _prm_score(path: tuple[str, ...], totals: Totals, names: Sequence[str]) -> Measure:
    """Return PRMScore: the mean of both F1. Without wrong steps, F1 alone.

    `get_prmscore_from_current_res_dict` of ssmisya/PRMBench.
    """
    steps = int(sum(totals.share(name, cell).points for name in names for cell in _CELLS))
    positive, negative = (
        _f1(totals, names, *cells) for cells in (("tp", "fp", "fn"), ("tn", "fn", "fp"))
    )
    value = positive if [*names] == [_WITHOUT_ERRORS] else (positive + negative) / 2
    return Measure(path=path, value=value, count=steps)


def _f1(totals: Totals, names: Sequence[str], hit: str, extra: str, missed: str) -> float:
    """Return the harmonic mean of precision and recall; 0 without a hit."""
    hits, others, misses = (
        sum(totals.share(name, cell).points for name in names) for cell in (hit, extra, missed)
    )
    return 2 * hits / (2 * hits + others + misses) if hits else 0.0


PROCESSBENCH = Benchmark(
    name="processbench",
    title="ProcessBench",
    paper="arXiv 2412.06559",
    home="Qwen/ProcessBench",
    needs="id, problem, steps, label (the first wrong step from 0, or -1)",
    rule="mean over subsets of F1: the harmonic mean of the accuracies on wrong and on correct "
    "solutions, where the first wrong step has to be found",
    fits=_is_processbench,
    units=_processbench_units,
    table=_processbench_table,
    drawn="solutions",
    parts=_SUBSETS,
    threshold=_THRESHOLD,
)
PRMBENCH = Benchmark(
    name="prmbench",
    title="PRMBench",
    paper="arXiv 2501.03124",
    home="hitsmy/PRMBench_Preview",
    needs="modified_question, modified_process, error_steps, classification, idx",
    rule="PRMScore over the steps of all rows: the mean of F1 for correct and for wrong steps; F1 "
    "alone for multi_solutions, which has no wrong step",
    fits=_is_prmbench,
    units=_prmbench_units,
    table=_prmbench_table,
    drawn="rows",
    published=6216,
    parts=tuple(_CATEGORIES),
    threshold=_THRESHOLD,
)
