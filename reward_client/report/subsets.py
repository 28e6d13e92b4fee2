"""The rows of each value of a column, next to each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from reward_client._base.wording import count, fixed, percent, shorten
from reward_client._pages.charts import Interval, intervals
from reward_client._pages.sections import Block, Figure, Section, Table
from reward_client._rows.scored import ScoredRow
from reward_client.files.groups import SHOWN_GROUPS, Groups
from reward_client.files.summary import GroupSummary, PairSummary

_USUAL = (
    *("subset", "category", "domain", "section", "task", "source", "dataset", "language", "lang"),
    *("difficulty", "level"),
)
"""Columns whose values are groups in public preference sets. The first one of them is taken."""
_NAME_CHARACTERS = 60


class Subsets:
    """Counts rows by a column: by the given one, or by the first usual one with a few values.

    Args:
        by: The column; None for a usual one.
        first: The first rows of the file, whose columns are looked through.
    """

    def __init__(self, by: str | None, first: Sequence[ScoredRow]) -> None:
        self._by = by
        names = {name for row in first for name in row.columns}
        usual = [name for name in _USUAL if name in names]
        self._groups = [Groups(name) for name in (usual if by is None else [by])]

    def add(self, row: ScoredRow) -> None:
        """Count a row."""
        for groups in self._groups:
            groups.add(row)

    def section(self, pairs: PairSummary | None) -> Section | None:
        """Return the section on the groups; None without groups.

        Args:
            pairs: The accuracy of all pairs.
        """
        fitting = [
            groups
            for groups in self._groups
            if self._by is not None or 2 <= groups.values <= SHOWN_GROUPS
        ]
        if not fitting:
            return None
        groups = fitting[0]
        summary = groups.summary()
        blocks: list[Block] = [self._words(groups)]
        drawn = [(group.name, group.pairs) for group in summary if group.pairs is not None]
        if pairs is not None and drawn:
            blocks.append(_figure(groups.by, drawn, pairs))
        blocks.append(_table(groups.by, summary, has_pairs=pairs is not None))
        return Section(f"By {shorten(groups.by, _NAME_CHARACTERS)}", blocks)

    def _words(self, groups: Groups) -> str:
        if self._by is not None:
            return f"Rows are grouped by the column {groups.by}."
        return (
            f"Rows are grouped by the column {groups.by}, which has "
            f"{count(groups.values, 'value')}. Name another column with by= (--by)."
        )


def _figure(by: str, drawn: Sequence[tuple[str, PairSummary]], whole: PairSummary) -> Figure:
    parts = [Interval(name, each.accuracy, *each.interval) for name, each in drawn]
    lowest = min(part.low for part in parts)
    best = max(parts, key=lambda part: part.value)
    worst = min(parts, key=lambda part: part.value)
    return Figure(
        f"Accuracy by {shorten(by, _NAME_CHARACTERS)}",
        f"The accuracy of {count(len(parts), 'group')} with 95% intervals, from "
        f"{percent(worst.value)} ({shorten(worst.name, _NAME_CHARACTERS)}) to "
        f"{percent(best.value)} ({shorten(best.name, _NAME_CHARACTERS)}).",
        intervals("accuracy", parts, whole.accuracy, min(0.5, math.floor(lowest * 10) / 10)),
        Table(
            "Accuracy of each group",
            ["group", "accuracy", "from", "to"],
            [[part.name, *map(percent, (part.value, part.low, part.high))] for part in parts],
        ),
        f"Whiskers: 95% intervals. Dashed: accuracy of all pairs, {percent(whole.accuracy)}.",
    )


def _table(by: str, groups: Sequence[GroupSummary], *, has_pairs: bool) -> Table:
    head = [by, "rows", "failed"]
    head += ["pairs", "accuracy", "95% interval", "margin"] if has_pairs else ["mean reward"]
    words = "Counts of each group" + (", with the mean margin" if has_pairs else "")
    return Table(words, head, [_cells(each, has_pairs=has_pairs) for each in groups])


def _cells(group: GroupSummary, *, has_pairs: bool) -> list[str]:
    cells = [group.name, f"{group.rows:,}", f"{group.failed:,}"]
    if not has_pairs:
        return [*cells, "" if group.mean is None else fixed(group.mean)]
    pairs = group.pairs
    if pairs is None:
        return [*cells, "0", "", "", ""]
    interval = " to ".join(map(percent, pairs.interval))
    return [*cells, f"{pairs.count:,}", percent(pairs.accuracy), interval, fixed(pairs.margin)]
