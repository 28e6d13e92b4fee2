"""Which of two answers a model prefers: by its rewards, or by a judge's verdicts. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from reward_client._rows.scored import Compared, ScoredRow


def votes(row: ScoredRow, one: str, other: str) -> list[int]:
    """Return a judge's votes in each order: 1 for the first answer, -1 for the other, 0 for a tie.

    A text without a verdict is a tie, as in the code of RewardBench and of JudgeBench.
    """
    signs = {(one, other): 1, (other, one): -1}
    return [
        signs[each.first, each.second] * _sign(each.preference or 0.0)
        for each in row.comparisons
        if (each.first, each.second) in signs
    ]


class Preferences:
    """The preferences between the answers of a row, which are named as in its comparisons.

    A judge's verdict is a vote for one answer, or a tie, in each order. The size of a preference
    does not count, as in the code of the benchmarks' authors. As in rankings, a pair of which one
    order failed has no votes. Answers without votes are compared by their rewards.

    Args:
        row: The row, with a reward for each answer.
    """

    def __init__(self, row: ScoredRow) -> None:
        named = zip(row.layout.sample_names(), row.rewards, strict=True)
        self._rewards = {name: reward for name, reward in named if reward is not None}
        self._sums = _sums(row.comparisons)

    def margin(self, one: str, other: str) -> float:
        """Return a number above 0 if the first answer is preferred, and 0 for a tie.

        The votes of all orders are added up. Without votes, it is the difference of the rewards.
        """
        total = self._sums.get((one, other))
        if total is not None:
            return total
        return self._rewards[one] - self._rewards[other]


def _sums(comparisons: Iterable[Compared]) -> dict[tuple[str, str], int]:
    """Return the sum of the votes on each two answers, for the first of them."""
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    failed: set[tuple[str, str]] = set()
    for first, second, preference, _ in comparisons:
        if preference is None:
            failed.update([(first, second), (second, first)])
        else:
            sums[first, second] += _sign(preference)
            sums[second, first] -= _sign(preference)
    return {pair: total for pair, total in sums.items() if pair not in failed}


def _sign(preference: float) -> int:
    return (preference > 0) - (preference < 0)
