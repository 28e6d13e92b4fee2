"""Which of two answers a model prefers: by its rewards, or by a judge's verdicts. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from reward_client._rows.scored import Compared, ScoredRow


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
        self._votes = _votes(row.comparisons)

    def margin(self, one: str, other: str) -> float:
        """Return a number above 0 if the first answer is preferred, and 0 for a tie.

        The votes of all orders are added up. Without votes, it is the difference of the rewards.
        """
        votes = self._votes.get((one, other))
        if votes is not None:
            return sum(votes)
        return self._rewards[one] - self._rewards[other]

    def share(self, one: str, other: str) -> float:
        """Return the share of the votes for the first answer, where a tie is half a vote.

        Without votes, it is 1 for the higher reward, and 0 otherwise.
        """
        votes = self._votes.get((one, other))
        if votes is None:
            return float(self.margin(one, other) > 0)
        return sum((1 + vote) / 2 for vote in votes) / len(votes)


def _votes(comparisons: Iterable[Compared]) -> dict[tuple[str, str], list[int]]:
    """Return the votes for the first answer of each pair, from 1 for it to -1 for the other."""
    votes: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    failed: set[tuple[str, str]] = set()
    for first, second, preference, _ in comparisons:
        pairs = (first, second), (second, first)
        if preference is None:
            failed.update(pairs)
            continue
        vote = (preference > 0) - (preference < 0)
        for pair, each in zip(pairs, (vote, -vote), strict=True):
            votes[pair].append(each)
    return {pair: each for pair, each in votes.items() if pair not in failed}
