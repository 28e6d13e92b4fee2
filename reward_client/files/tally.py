"""Count the results of a file in constant memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from reward_client._base.histogram import bin_edges, shares
from reward_client._base.reservoir import Distribution
from reward_client._client.failures import fault_of
from reward_client._rows.scored import ScoredRow
from reward_client.files.groups import Groups, PairCounts
from reward_client.files.summary import Bin, ScoreSummary

_MAX_COLUMNS = 100
"""Names of columns to remember: a file may have other ones in each row."""
_BINS = 10


class Tally:
    """Running counts of new and earlier results.

    Args:
        by: The column by whose values rows are counted apart; None for no groups.

    Attributes:
        rows: Number of rows.
        kept: Number of rows with the result of an earlier run.
        conversations: Number of conversations that this run scored.
        tokens: Number of their tokens.
        failures: Number of failed rows by the type of their first error.
        comparisons: Number of comparisons of a judge.
        failed_comparisons: Number of comparisons without a verdict, by the type of their error.
        rewards: All rewards.
        sides: The rewards of the chosen and of the rejected side of pairs.
    """

    def __init__(self, by: str | None = None) -> None:
        self.rows = 0
        self.kept = 0
        self.conversations = 0
        self.tokens = 0
        self.failures: Counter[str] = Counter()
        self.comparisons = 0
        self.failed_comparisons: Counter[str] = Counter()
        self._reasons: dict[str, tuple[int, str]] = {}
        self._can_retry = False
        self._unread: dict[str, None] = {}
        self.rewards = Distribution()
        self.sides = {"chosen": Distribution(), "rejected": Distribution()}
        self._pairs = PairCounts()
        self._groups = None if by is None else Groups(by)

    def add(self, row: ScoredRow, *, is_kept: bool, unread: Iterable[str] = ()) -> None:
        """Count a row.

        Args:
            row: The row with its rewards; with its own columns if they are counted apart.
            is_kept: True if an earlier run wrote it.
            unread: The names of its columns that no sample is made of.
        """
        for name in unread:
            if len(self._unread) < _MAX_COLUMNS:
                self._unread[name] = None
        errors = [error for error in row.errors() if error is not None]
        if errors:
            self.failures[errors[0].type] += 1
            self._reasons.setdefault(errors[0].type, (self.rows, errors[0].message))
            self._can_retry |= any(fault_of(error.type) == "server" for error in errors)
        for compared in row.comparisons:
            self.comparisons += 1
            if compared.error is not None:
                self.failed_comparisons[compared.error.type] += 1
                self._can_retry |= fault_of(compared.error.type) == "server"
        self.rows += 1
        rewards = [reward for reward in row.rewards if reward is not None]
        self.rewards.add(*rewards)
        pair = row.pair
        if pair is not None:
            self.sides["chosen"].add(*pair.chosen)
            self.sides["rejected"].add(*pair.rejected)
            self._pairs.add(pair)
        if self._groups is not None:
            self._groups.add(row)
        if is_kept:
            self.kept += 1
        else:
            counts = [number for number in row.token_counts if number is not None]
            # Some conversations have no scalar reward, and some have no token count.
            self.conversations += max(len(rewards), len(counts))
            self.tokens += int(sum(counts))

    def summary(self, seconds: float) -> ScoreSummary:
        """Return the summary of all counted results."""
        sides = {name: side.quantiles() for name, side in self.sides.items()}
        return ScoreSummary(
            rows=self.rows,
            failures=dict(self.failures.most_common()),
            reasons={error: self._reasons[error] for error, _ in self.failures.most_common()},
            can_retry=self._can_retry,
            kept=self.kept,
            rewards=self.rewards.quantiles(),
            sides={name: side for name, side in sides.items() if side},
            histogram=_bins(self.rewards),
            pairs=self._pairs.summary(),
            comparisons=self.comparisons,
            failed_comparisons=self.failed_comparisons.total(),
            by=None if self._groups is None else self._groups.by,
            groups=() if self._groups is None else self._groups.summary(),
            conversations=self.conversations,
            tokens=self.tokens,
            seconds=seconds,
            unread=tuple(self._unread),
        )


def _bins(rewards: Distribution) -> list[Bin]:
    """Return bins with all rewards. The first and the last one reach to far outliers."""
    ranked = rewards.ranked()
    edges = bin_edges(ranked, _BINS)
    if not edges:
        return []
    edges = [*([rewards.low] if rewards.low < edges[0] else []), *edges]
    edges = [*edges, *([rewards.high] if rewards.high > edges[-1] else [])]
    parts = shares(ranked, edges)
    return [Bin(*ends, share) for ends, share in zip(pairwise(edges), parts, strict=True)]
