"""The distribution of rewards, of both sides of pairs, and of objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from reward_client._base.histogram import bin_edges, shares
from reward_client._base.json_values import as_mapping
from reward_client._base.reservoir import SIZE, Distribution
from reward_client._base.wording import fixed, percent
from reward_client._pages.charts import histogram
from reward_client._pages.sections import Block, Figure, Section, Table
from reward_client._rows.scored import ScoredRow, number

_BINS = 42
_MAX_OBJECTIVES = 50
_DRAWN_OBJECTIVES = 12


class Objectives:
    """The values of the objectives, if the model has several."""

    def __init__(self) -> None:
        self.values: dict[str, Distribution] = {}

    def add(self, row: ScoredRow) -> None:
        """Take the objectives of a row."""
        laid = row.columns.get("objectives")
        if laid is None:
            return
        for sample in row.layout.flat(laid):
            for name, given in (as_mapping(sample) or {}).items():
                value = number(given)
                if value is None:
                    continue
                if name in self.values or len(self.values) < _MAX_OBJECTIVES:
                    self.values.setdefault(name, Distribution()).add(value)


def distribution(
    rewards: Distribution, sides: Mapping[str, Distribution], objectives: Objectives
) -> Section | None:
    """Return the section on the distribution; None without any values."""
    shown = {name: side for name, side in sides.items() if side.count}
    blocks: list[Block] = []
    if rewards.count:
        blocks += histograms("reward", "Distribution of the rewards", shown or {"all": rewards})
        columns = [_quantiles(values) for values in ({"all": rewards} | shown).values()]
        rows = zip(("number", *rewards.quantiles()), *columns, strict=True)
        blocks.append(
            Table("Quantiles of the rewards", ["quantile", "all", *shown], [*map(list, rows)])
        )
    for name, values in [*objectives.values.items()][:_DRAWN_OBJECTIVES]:
        blocks += histograms(name, f"Distribution of the objective {name}", {"all": values})
    if objectives.values:
        named = next(iter(objectives.values.values())).quantiles()
        lines = [[name, *_quantiles(values)] for name, values in objectives.values.items()]
        blocks.append(Table("Quantiles of the objectives", ["objective", "number", *named], lines))
    if len(objectives.values) > _DRAWN_OBJECTIVES:
        blocks.append(f"Charts show the first {_DRAWN_OBJECTIVES} objectives; the table has more.")
    if not blocks:
        return None
    if not all(values.is_whole for values in (rewards, *objectives.values.values())):
        blocks.append(
            f"Charts and quantiles of more than {SIZE:,} values come from a random sample of this "
            "size; number, min and max are of all values."
        )
    return Section("Distribution of rewards", blocks)


def _quantiles(values: Distribution) -> list[str]:
    return [f"{values.count:,}", *map(fixed, values.quantiles().values())]


def histograms(axis: str, title: str, series: Mapping[str, Distribution]) -> list[Block]:
    """Return the chart of one or two series; a sentence if there is nothing to draw.

    Args:
        axis: The quantity.
        title: The title of the chart.
        series: The values of each series.
    """
    ranked = {name: values.ranked() for name, values in series.items()}
    everything = sorted(value for values in ranked.values() for value in values)
    edges = bin_edges(everything, _BINS)
    if not edges:
        return [f"{title}: all values are {everything[0]:.6g}."]
    parts = [(name, shares(values, edges)) for name, values in ranked.items()]
    if len(parts) > 1:
        title = f"{title}: {' and '.join(series)}"
    return [
        Figure(
            title,
            _description(parts, edges),
            histogram(axis, edges, parts),
            Table(
                "Share of each bin",
                ["from", "to", *series],
                [
                    [f"{low:,.6g}", f"{high:,.6g}", *(percent(share[index]) for _, share in parts)]
                    for index, (low, high) in enumerate(pairwise(edges))
                ],
                texts=0,
            ),
            _outside(parts, edges),
        )
    ]


def _description(parts: Sequence[tuple[str, Sequence[float]]], edges: Sequence[float]) -> str:
    most = [
        f"Of {name}, most values lie from {edges[index]:,.6g} to {edges[index + 1]:,.6g} "
        f"({percent(share[index])})."
        for name, share in parts
        for index in [max(range(len(share)), key=share.__getitem__)]
    ]
    return " ".join(["Histogram.", *most])


def _outside(parts: Sequence[tuple[str, Sequence[float]]], edges: Sequence[float]) -> str:
    outside = {name: 1 - sum(share) for name, share in parts}
    if max(outside.values()) < 1e-9:
        return ""
    shown = ", ".join(f"{percent(share)} of {name}" for name, share in outside.items())
    return f"Outside of {edges[0]:,.6g} to {edges[-1]:,.6g}, and not drawn: {shown}."
