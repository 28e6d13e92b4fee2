"""The length of samples next to their rewards."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import groupby, pairwise

from reward_client._base.histogram import bin_edges
from reward_client._base.moments import Comoments
from reward_client._base.reservoir import SIZE, Reservoir
from reward_client._base.wording import fixed, percent
from reward_client._pages.charts import Interval, density, intervals
from reward_client._pages.sections import Block, Figure, Section, Table
from reward_client._rows.scored import ScoredRow
from reward_client.files.groups import PairCounts

_COLUMNS, _ROWS = 28, 20
_LONGER, _SHORTER, _SAME = "chosen is longer", "chosen is shorter", "same length"


class Lengths:
    """Takes the number of tokens and the reward of each sample."""

    def __init__(self) -> None:
        self._points = Reservoir(width=2)
        self._moments = Comoments()
        self._pairs = {name: PairCounts() for name in (_LONGER, _SHORTER, _SAME)}

    def add(self, row: ScoredRow) -> None:
        """Take the samples of a row."""
        for tokens, reward in zip(row.token_counts, row.rewards, strict=True):
            if tokens is not None and reward is not None:
                self._points.add(tokens, reward)
                self._moments.add(tokens, reward)
        if row.pair is not None and None not in row.token_counts:
            chosen, rejected = (_mean(row, side) for side in ("chosen", "rejected"))
            name = _LONGER if chosen > rejected else _SHORTER if chosen < rejected else _SAME
            self._pairs[name].add(row.pair)

    def section(self) -> Section | None:
        """Return the section on lengths; None if no sample has a number of tokens."""
        if not self._points.count:
            return None
        correlation = self._moments.correlation()
        if correlation is None:
            words = "All samples have the same length, or all rewards are equal."
        else:
            words = (
                f"The correlation (Pearson) of the number of tokens with the reward is "
                f"{correlation:.3f}, over {self._points.count:,} samples. The tokens of the "
                "prompt count too."
            )
        blocks: list[Block] = [words]
        figure = self._density()
        if figure is not None:
            blocks.append(figure)
        bias = self._bias()
        if bias is not None:
            blocks.append(bias)
        if not self._points.is_whole:
            blocks.append(
                f"The chart shows a random sample of {SIZE:,}; the correlation is of all samples."
            )
        return Section("Length and reward", blocks)

    def _density(self) -> Figure | None:
        tokens, rewards = self._points.column(0), self._points.column(1)
        x_edges = bin_edges(sorted(tokens), _COLUMNS)
        y_edges = bin_edges(sorted(rewards), _ROWS)
        if not x_edges or not y_edges:
            return None
        cells = [[0] * (len(y_edges) - 1) for _ in x_edges[1:]]
        sums = [[0.0, 0.0] for _ in cells]
        for x, y in zip(tokens, rewards, strict=True):
            column, row = _bin(x_edges, x), _bin(y_edges, y)
            if column is not None:
                sums[column][0] += 1
                sums[column][1] += y
                if row is not None:
                    cells[column][row] += 1
        columns = [*zip(pairwise(x_edges), sums, strict=True)]
        traces = [
            [((low + high) / 2, total / count) for (low, high), (count, total) in filled]
            for is_filled, filled in groupby(columns, lambda column: bool(column[1][0]))
            if is_filled
        ]
        first, last = traces[0][0][1], traces[-1][-1][1]
        return Figure(
            "Number of tokens and reward",
            "A map of counts. The line is the mean reward of each column, from "
            f"{fixed(first)} for the shortest samples to {fixed(last)} for the longest.",
            density(("tokens", "reward"), x_edges, y_edges, cells, traces),
            Table(
                "Mean reward by number of tokens",
                ["from", "to", "samples", "mean reward"],
                [
                    [f"{low:,.6g}", f"{high:,.6g}", f"{count:,.0f}", fixed(total / count)]
                    for (low, high), (count, total) in columns
                    if count
                ],
                texts=0,
            ),
            "Line: mean reward of each column. Far outliers lie outside of the map.",
        )

    def _bias(self) -> Figure | None:
        found = {name: counts.summary() for name, counts in self._pairs.items()}
        pairs = {name: summary for name, summary in found.items() if summary is not None}
        if not pairs:
            return None
        parts = [Interval(name, each.accuracy, *each.interval) for name, each in pairs.items()]
        lowest = min(0.5, *(part.low for part in parts))
        said = ", ".join(f"{percent(each.value)} where {each.name}" for each in parts)
        return Figure(
            "Accuracy of pairs by length",
            f"The accuracy is {said}.",
            intervals("accuracy", parts, start=int(lowest * 10) / 10),
            Table(
                "Accuracy by length",
                ["pairs in which", "pairs", "accuracy", "from", "to"],
                [
                    [name, f"{each.count:,}", *map(percent, (each.accuracy, *each.interval))]
                    for name, each in pairs.items()
                ],
            ),
            "A model that favours long answers is right where chosen is longer, and wrong where it "
            "is shorter. For lists, the mean numbers of tokens are compared.",
        )


def _mean(row: ScoredRow, side: str) -> float:
    counts = [count for count in row.of_side(side, row.token_counts) if count is not None]
    return sum(counts) / len(counts)


def _bin(edges: Sequence[float], value: float) -> int | None:
    """Return the index of a value's bin; None outside of all. The last bin holds its end."""
    if value == edges[-1]:
        return len(edges) - 2
    index = bisect_right(edges, value) - 1
    return index if 0 <= index < len(edges) - 1 else None
