"""The figures at the top of a report."""

from __future__ import annotations

from reward_client._base.wording import count, percent
from reward_client._pages.sections import Block, Section, Tile
from reward_client._rows.scored import ScoredRow
from reward_client.files.summary import ScoreSummary


class Truncated:
    """Counts the samples whose old turns the client dropped."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, row: ScoredRow) -> None:
        """Count the samples of a row."""
        laid = row.columns.get("truncated")
        if laid is not None:
            self.count += row.layout.flat(laid).count(True)


def overview(
    summary: ScoreSummary, rewards: int, truncated: Truncated, *, is_torn: bool
) -> Section:
    """Return the section with the figures of the whole file.

    Args:
        summary: The counts of the file.
        rewards: The number of rewards.
        truncated: The number of truncated samples.
        is_torn: True if the last line was left out.
    """
    failed = f"{summary.failed:,} failed ({percent(summary.failed / summary.rows)})"
    tiles = [Tile(f"{summary.rows:,}", "rows", failed if summary.failed else "none failed")]
    pairs = summary.pairs
    if pairs:
        low, high = pairs.interval
        tiles += [
            Tile(
                percent(pairs.accuracy),
                "accuracy of pairs",
                f"95% interval {percent(low)} to {percent(high)}",
            ),
            Tile(f"{pairs.margin:.3g}", "mean margin", "reward of chosen minus rejected"),
            Tile(f"{pairs.count:,}", "pairs", count(pairs.ties, "tie")),
        ]
    if rewards:
        spread = f"5% to 95%: {summary.rewards['5%']:.3g} to {summary.rewards['95%']:.3g}"
        tiles.append(Tile(f"{summary.rewards['50%']:.3g}", "median reward", spread))
    tiles.append(Tile(f"{rewards:,}", "rewards", f"{count(truncated.count, 'sample')} truncated"))
    blocks: list[Block] = [tiles]
    if pairs:
        blocks.append(
            "A pair is right if chosen has the larger reward; a tie counts one half. A row whose "
            "sides are lists is one pair, with the part of its comparisons that are right. Rows "
            "with a failed sample are left out. Intervals are score intervals (Wilson, 1927)."
        )
    if truncated.count:
        blocks.append(
            f"{count(truncated.count, 'sample')} had too many tokens, and lost the oldest turns "
            "(on_overlong). Their rewards belong to shorter conversations."
        )
    if is_torn:
        blocks.append(
            "The last line of the file is not whole, as a run leaves it that is stopped or still "
            "going. It is left out."
        )
    return Section("Overview", blocks)
