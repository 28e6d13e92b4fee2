"""The summary of a scored file, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from reward_client._base.wording import aligned, count, percent, shorten
from reward_client._printable import one_line

_REASON_CHARACTERS = 400
_COLUMNS_CHARACTERS = 400
_GROUP_CHARACTERS = 40


class Bin(NamedTuple):
    """A bin of a histogram.

    Attributes:
        low: The lower edge, which belongs to the bin.
        high: The upper edge, which belongs to the next bin if there is one.
        share: The part of all rewards in it, from 0 to 1.
    """

    low: float
    high: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSummary:
    """Accuracy of the rewards of pairs: is the reward of chosen above the one of rejected?

    A row whose sides are lists counts as one pair, with the part of its comparisons that are right.

    Attributes:
        count: Number of rows whose chosen and rejected samples all have a reward.
        accuracy: Part of the pairs in which chosen has the larger reward. A tie counts one half.
        interval: The 95 % score interval of the accuracy (Wilson, 1927).
        ties: Number of comparisons with equal rewards.
        margin: Mean of the reward of chosen minus the reward of rejected.
    """

    count: int
    accuracy: float
    interval: tuple[float, float]
    ties: int
    margin: float

    def __str__(self) -> str:
        """Format the summary as a line for people."""
        low, high = self.interval
        return (
            f"{count(self.count, 'pair')}: accuracy {percent(self.accuracy)} (95% interval "
            f"{percent(low)} to {percent(high)}), {count(self.ties, 'tie')}, "
            f"mean margin {self.margin:.4g}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """Counts of the rows with one value in a column.

    Attributes:
        name: The value as text; ``"(no value)"`` for rows without one, and ``"(others)"`` for the
            rows of all groups beyond the 50 largest ones.
        rows: Number of rows.
        failed: Number of failed rows.
        mean: Mean of the rewards; None without rewards.
        pairs: Accuracy of the pairs; None without pairs.
    """

    name: str
    rows: int
    failed: int
    mean: float | None
    pairs: PairSummary | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary:
    """Counts and quantiles of a scored file.

    Attributes:
        rows: Number of rows, including earlier runs.
        failures: Number of failed rows by the type of their (first) error.
        reasons: The first failed row of each type: its position and the message of its error.
        can_retry: True if a row or a comparison failed by a fault of the server or the network, so
            that another run with ``retry_failed=True`` may score it.
        kept: Number of rows with the result of an earlier run.
        rewards: ``min``, ``5%``, ``25%``, ``50%``, ``75%``, ``95%`` and ``max`` of all rewards,
            including each reward of a row with several responses. Empty without rewards. Above
            50,000 rewards, quantiles are estimated from a random sample.
        sides: The same for the rewards of ``chosen`` and of ``rejected``; empty without pairs.
        histogram: At most ten bins with all rewards, from the same sample; empty if all are equal.
        pairs: Accuracy of the pairs; None without pairs.
        comparisons: Number of comparisons of a judge.
        failed_comparisons: Number of these without a verdict.
        by: The column of the groups, if any.
        groups: The groups of the column's values, in the order of their first rows.
        conversations: Number of conversations that this run scored.
        tokens: Number of tokens in these conversations.
        seconds: Duration of this run.
        unread: The names of columns with a value that this run did not read, 100 at most.
    """

    rows: int
    failures: Mapping[str, int]
    reasons: Mapping[str, tuple[int, str]]
    can_retry: bool
    kept: int
    rewards: Mapping[str, float]
    sides: Mapping[str, Mapping[str, float]]
    histogram: Sequence[Bin]
    pairs: PairSummary | None
    comparisons: int
    failed_comparisons: int
    by: str | None
    groups: Sequence[GroupSummary]
    conversations: int
    tokens: int
    seconds: float
    unread: tuple[str, ...]

    @property
    def failed(self) -> int:
        """Number of failed rows."""
        return sum(self.failures.values())

    def __str__(self) -> str:
        """Format the summary as lines for people."""
        lines = [counts_line(self.rows, self.failures, self.kept)]
        lines += [
            reason_line(error, f"row {row}", message)
            for error, (row, message) in self.reasons.items()
        ]
        if self.unread:
            names = ", ".join(name if name.isprintable() else repr(name) for name in self.unread)
            lines.append(f"columns that were not read: {shorten(names, _COLUMNS_CHARACTERS)}")
        if self.failed_comparisons:
            compared = f"{self.failed_comparisons:,} of {self.comparisons:,} comparisons"
            lines.append(f"{compared} gave no verdict, and their pairs do not count")
        if self.pairs:
            lines.append(str(self.pairs))
        for name, rewards in {"rewards": self.rewards, **self.sides}.items():
            if rewards:
                shown = ", ".join(f"{share} {value:.4g}" for share, value in rewards.items())
                lines.append(f"{name}: {shown}")
        if self.groups:
            lines += aligned([_heading(self.by, self.pairs), *map(_cells, self.groups)])
        if self.conversations:
            lines.append(rate_line(self.conversations, self.tokens, self.seconds))
        return "\n".join(lines)


def counts_line(rows: int, failures: Mapping[str, int], kept: int) -> str:
    """Return the numbers of rows in words."""
    failed = sum(failures.values())
    line = f"{count(rows, 'row')}: {rows - failed:,} scored, {failed:,} failed"
    if failures:
        line += f" ({', '.join(f'{n:,} {error}' for error, n in failures.items())})"
    return f"{line}; {kept:,} of them in earlier runs" if kept else line


def reason_line(error: str, place: str, message: str) -> str:
    """Return the first failure of a type in words."""
    return f"first {error}, in {place}: {shorten(one_line(message), _REASON_CHARACTERS)}"


def rate_line(conversations: int, tokens: int, seconds: float) -> str:
    """Return the speed of a run in words."""
    return (
        f"{count(conversations, 'conversation')} in {seconds:.1f} s: "
        f"{conversations / seconds:,.0f} conv/s, {tokens / seconds:,.0f} tokens/s"
    )


def _heading(by: str | None, pairs: PairSummary | None) -> list[str]:
    last = ["pairs", "accuracy", "95% interval", "ties", "mean margin"] if pairs else []
    return [shorten(one_line(f"by {by}"), _GROUP_CHARACTERS), "rows", "failed", "mean", *last]


def _cells(group: GroupSummary) -> list[str]:
    cells = [shorten(one_line(group.name), _GROUP_CHARACTERS), f"{group.rows:,}"]
    cells += [f"{group.failed:,}", "" if group.mean is None else f"{group.mean:.4g}"]
    pairs = group.pairs
    if pairs is None:
        return cells
    low, high = pairs.interval
    interval = f"{percent(low)} to {percent(high)}"
    shown = [f"{pairs.count:,}", percent(pairs.accuracy), interval, f"{pairs.ties:,}"]
    return [*cells, *shown, f"{pairs.margin:.4g}"]
