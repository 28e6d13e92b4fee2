"""Counts for each value of a column, in constant memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Self

import orjson

from reward_client._base.json_values import as_mapping
from reward_client._base.statistics import wilson_interval
from reward_client._base.wording import describe_type, shorten
from reward_client._rows.scored import Pair, ScoredRow
from reward_client.errors import InputError
from reward_client.files.inputs.line import Line
from reward_client.files.summary import GroupSummary, PairSummary

SHOWN_GROUPS = 50
_MAX_GROUPS = 1000
"""Groups that are counted apart. Rows with further values count as others at once."""
_NAME_CHARACTERS = 200
_FIRST_ROWS = 100
_SHOWN_NAMES = 600
_NO_VALUE = "(no value)"
_OTHERS = "(others)"


class PairCounts:
    """Running counts of pairs."""

    def __init__(self) -> None:
        self._count = 0
        self._right = 0.0
        self._ties = 0
        self._margins = 0.0

    def add(self, pair: Pair) -> None:
        """Count a pair."""
        self._count += 1
        self._right += pair.share_right
        self._ties += pair.margins.count(0.0)
        self._margins += pair.margin

    def merge(self, others: Self) -> None:
        """Count the pairs of other counts."""
        self._count += others._count
        self._right += others._right
        self._ties += others._ties
        self._margins += others._margins

    def summary(self) -> PairSummary | None:
        """Return the summary of all pairs; None without pairs."""
        if not self._count:
            return None
        return PairSummary(
            count=self._count,
            accuracy=self._right / self._count,
            interval=wilson_interval(self._right, self._count),
            ties=self._ties,
            margin=self._margins / self._count,
        )


class _Group:
    """Running counts of the rows with one value."""

    def __init__(self) -> None:
        self.rows = 0
        self._failed = 0
        self._rewards = 0
        self._sum = 0.0
        self._pairs = PairCounts()

    def add(self, row: ScoredRow) -> None:
        self.rows += 1
        self._failed += row.columns.get("error") is not None
        for reward in row.rewards:
            if reward is not None:
                self._rewards += 1
                self._sum += reward
        if row.pair is not None:
            self._pairs.add(row.pair)

    def merge(self, other: Self) -> None:
        self.rows += other.rows
        self._failed += other._failed
        self._rewards += other._rewards
        self._sum += other._sum
        self._pairs.merge(other._pairs)

    def summary(self, name: str) -> GroupSummary:
        return GroupSummary(
            name=name,
            rows=self.rows,
            failed=self._failed,
            mean=self._sum / self._rewards if self._rewards else None,
            pairs=self._pairs.summary(),
        )


class Groups:
    """Running counts for each value of a column.

    Args:
        by: The name of the column.
    """

    def __init__(self, by: str) -> None:
        self.by = by
        self._groups: dict[str | None, _Group] = {}
        self._others = _Group()

    def add(self, row: ScoredRow) -> None:
        """Count a row in the group of its value."""
        name = _name(row.columns.get(self.by))
        group = self._groups.get(name)
        if group is None:
            if len(self._groups) >= _MAX_GROUPS:
                group = self._others
            else:
                group = self._groups[name] = _Group()
        group.add(row)

    @property
    def values(self) -> int:
        """Number of values, where 1,000 stands for any larger number."""
        return len(self._groups) - (None in self._groups)

    def summary(self) -> list[GroupSummary]:
        """Return the largest groups in the order of their first rows, and then all others."""
        by_size = sorted(self._groups, key=lambda name: -self._groups[name].rows)
        largest = {*by_size[:SHOWN_GROUPS]}
        others = _Group()
        others.merge(self._others)
        for name in by_size[SHOWN_GROUPS:]:
            others.merge(self._groups[name])
        shown = [
            group.summary(_NO_VALUE if name is None else name)
            for name, group in self._groups.items()
            if name in largest
        ]
        return [*shown, others.summary(_OTHERS)] if others.rows else shown


def check_by(by: object) -> None:
    """Refuse a column that has no name.

    Raises:
        InputError: If the argument is neither None nor a name.
    """
    if by is not None and (not isinstance(by, str) or not by):
        given = "an empty str" if by == "" else describe_type(by)
        raise InputError(f"by= must be the name of a column, not {given}.")


def with_column(lines: Iterator[Line], by: str | None) -> Iterator[Line]:
    """Return the lines, after a check that one of the first ones has a column.

    Raises:
        InputError: If none of them has it.
    """
    if by is None:
        return lines
    first = list(islice(lines, _FIRST_ROWS + 1))
    names = dict.fromkeys(chain.from_iterable(map(_names, first[:_FIRST_ROWS])))
    if names and by not in names:
        none = "no row" if len(first) <= _FIRST_ROWS else f"none of the first {_FIRST_ROWS} rows"
        raise InputError(
            f"Cannot group by {by!r}: {none} has the column. There are: "
            f"{shorten(', '.join(names), _SHOWN_NAMES)}."
        )
    return chain(first, lines)


def _names(line: Line) -> Sequence[str]:
    try:
        row: Mapping[str, object] = as_mapping(orjson.loads(line.content)) or {}
    except orjson.JSONDecodeError:
        return ()
    return tuple(row)


def _name(value: object) -> str | None:
    """Return a value as text of a limited length, which other values do not share."""
    if value is None or value == "":  # the same in CSV
        return None
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if len(text) <= _NAME_CHARACTERS:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:_NAME_CHARACTERS]}… ({digest[:16]})"
