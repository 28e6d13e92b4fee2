"""Rounds, medians, ratios and goals, the same for every part, and their tables."""

from __future__ import annotations

import random
import statistics
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.environment import in_words
from benchmarks.process import FailedError

Run = Mapping[str, float]
"""The figures of one run by their keys in `COLUMNS`."""

Runs = Mapping[str, Sequence[Run | None]]
"""For each competitor, one run of each round; None for a failed run."""

Json = dict[str, Any]

_PAGE_WIDTH = 120

COLUMNS = {
    "per_second": ("samples/s", "{:,.0f}"),
    "cpu_us": ("client's CPU, µs a sample", "{:,.1f}"),
    "milliseconds": ("ms", "{:.2f}"),
    "median_ms": ("median of a request, ms", "{:.1f}"),
    "p99_ms": ("99 % of requests, ms", "{:.1f}"),
    "seconds": ("s", "{:.1f}"),
    "peak_mib": ("peak memory, MiB", "{:,.1f}"),
    "cpu_share": ("client's share of a core", "{:.0%}"),
    "finding_seconds": ("finding and checking the head, s", "{:.2f}"),
    "head_mib": ("the head, MiB", "{:,.1f}"),
    "written_mb": ("written, MB", "{:,.1f}"),
    "on_disk_mb": ("on disk, MB", "{:,.1f}"),
    "tau": ("Kendall's tau", "{:.2f}"),
    "same_best": ("same best", "{:.0%}"),
    "texts": ("texts a prompt", "{:,.0f}"),
}
"""Titles and formats. A table shows the range of a row's first figure."""


class Settings(NamedTuple):
    """The options of a run.

    Attributes:
        rounds: The number of rounds of each part.
        scale: The fraction of the full number of samples.
        server_python: The interpreter of an environment with vLLM, if there is one.
        packages: Other checkouts of reward_client to measure, by the names in the tables.
        sglang_python: The interpreter of an environment with SGLang, if there is one.
    """

    rounds: int
    scale: float
    server_python: str | None
    packages: Mapping[str, str]
    sglang_python: str | None = None

    def count(self, full: int) -> int:
        """Scale a number of samples."""
        return max(1, round(full * self.scale))


def compete(
    names: Sequence[str], rounds: int, measure: Callable[[str], Run]
) -> dict[str, Sequence[Run | None]]:
    """Run every competitor once in each round, in an order that changes from round to round."""
    runs: dict[str, list[Run | None]] = {name: [] for name in names}
    for number in range(rounds):
        for name in random.Random(number).sample(names, len(names)):
            try:
                run = measure(name)
            except FailedError as error:
                print(f"{name}: {error}", file=sys.stderr)
                runs[name].append(None)
            else:
                runs[name].append(run)
                shown = ", ".join(
                    f"{COLUMNS[key][1].format(value)} {COLUMNS[key][0]}"
                    for key, value in run.items()
                )
                print(f"  round {number + 1}, {name}: {shown}", file=sys.stderr)
    return dict(runs)


def column(runs: Runs, name: str, key: str = "per_second") -> list[float]:
    """Return one figure of one competitor for each round without a failure."""
    return [run[key] for run in runs.get(name, ()) if run is not None]


def ratios(runs: Runs, over: str, under: str, key: str = "per_second") -> list[float]:
    """Divide one competitor's figure by another's within each round."""
    pairs = zip(runs.get(over, ()), runs.get(under, ()), strict=False)
    return [one[key] / other[key] for one, other in pairs if one is not None and other is not None]


def spread(values: Sequence[float]) -> Json:
    """Return the median, the minimum, the maximum and all values."""
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "runs": list(values),
    }


def table(title: str, runs: Runs, note: str = "", *, compared: bool = True) -> Json:
    """Make a table of the competitors' figures; `compared` divides the first row by each row."""
    first = next(iter(runs))
    rows = []
    for name, rounds in runs.items():
        done = [run for run in rounds if run is not None]
        figures = {key: spread([run[key] for run in done]) for key in (done[0] if done else ())}
        key = next(iter(figures), "")
        ratio = ratios(runs, first, name, key) if compared and key else []
        rows.append(
            {
                "by": name,
                "figures": figures,
                "first_by_this": spread(ratio) if ratio else None,
                "failed": len(rounds) - len(done),
            }
        )
    return {"title": title, "note": note, "rows": rows}


def goal(
    what: str,
    values: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Json:
    """State bounds for the median of a figure; an unmeasured figure does not meet them."""
    median = statistics.median(values) if values else None
    return {
        "what": what,
        **(spread(values) if values else {"median": None}),
        "at_least": at_least,
        "at_most": at_most,
        "met": median is not None
        and (at_least is None or median >= at_least)
        and (at_most is None or median <= at_most),
    }


def findings(*tables: Json, goals: Sequence[Json] = (), remarks: Sequence[str] = ()) -> Json:
    """Collect the results of one part."""
    return {"tables": list(tables), "goals": list(goals), "remarks": list(remarks)}


def as_markdown(result: Json) -> str:
    """Return the results of one part in Markdown."""
    pieces = []
    for entry in result["tables"]:
        note = [entry["note"]] if entry["note"] else []
        pieces += [f"**{entry['title']}**", *note, _rows(entry)]
    if result["goals"]:
        pieces += ["**Targets**", _goals(result["goals"])]
    pieces += result["remarks"]
    rounds = max(_rounds(entry) for entry in result["tables"])
    measured = f"Medians of {rounds} rounds." if rounds > 1 else "Measured once."
    pieces.append(textwrap.fill(f"{measured} {in_words(result['environment'])}", _PAGE_WIDTH))
    if result["scale"] != 1:
        pieces.append(f"Scaled to {result['scale']:g} of its size: a quick look; do not quote it.")
    return "\n\n".join(pieces) + "\n"


def _rounds(entry: Json) -> int:
    """Return the number of rounds behind a table."""
    figures = [figure for row in entry["rows"] for figure in row["figures"].values()]
    return max((len(figure["runs"]) for figure in figures), default=0)


def _markdown(lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table whose first line is the header."""
    header, *rows = lines
    rule = ["---"] * len(header)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def _rows(entry: Json) -> str:
    rows: list[Json] = entry["rows"]
    keys = list(dict.fromkeys(key for row in rows for key in row["figures"]))
    first = keys[0] if keys else "per_second"
    titles = [COLUMNS[key][0] for key in keys]
    compared = any(row["first_by_this"] for row in rows)
    header = ["", *titles[:1], "min to max", *titles[1:], *["first ÷ this"] * compared]
    lines = [header]
    for row in rows:
        figures = row["figures"]
        if not figures:
            lines.append([row["by"], "failed", *[""] * (len(header) - 2)])
            continue
        cells = [
            COLUMNS[key][1].format(figures[key]["median"]) if key in figures else "" for key in keys
        ]
        ratio = row["first_by_this"]
        lines.append(
            [
                row["by"],
                *cells[:1],
                _range(figures[first], COLUMNS[first][1]),
                *cells[1:],
                *[f"{ratio['median']:.2f}" if ratio else ""] * compared,
            ]
        )
    return _markdown(lines)


def _goals(goals: Sequence[Json]) -> str:
    lines = [["", "median", "min to max", "target", "met"]]
    for entry in goals:
        bounds = [
            f"{sign} {entry[key]:g}"
            for key, sign in (("at_least", "≥"), ("at_most", "≤"))
            if entry[key] is not None
        ]
        measured = entry["median"] is not None
        lines.append(
            [
                entry["what"],
                f"{entry['median']:.2f}" if measured else "not measured",
                _range(entry, "{:.2f}") if measured else "",
                ", ".join(bounds),
                ("yes" if entry["met"] else "**no**") if bounds else "",
            ]
        )
    return _markdown(lines)


def _range(values: Json, form: str) -> str:
    return f"{form.format(values['min'])} to {form.format(values['max'])}"
