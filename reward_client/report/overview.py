"""The figures at the top of a report."""

from __future__ import annotations

from reward_client._base.wording import count, percent, rounded
from reward_client._pages.sections import Block, Section, Tile
from reward_client._rows.scored import ScoredRow
from reward_client.files.summary import ScoreSummary
from reward_client.report.rewards import Objectives


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
    summary: ScoreSummary,
    rewards: int,
    objectives: Objectives,
    truncated: Truncated,
    *,
    is_torn: bool,
) -> Section:
    """Return the section with the figures of the whole file.

    Args:
        summary: The counts of the file.
        rewards: The number of rewards.
        objectives: The objectives, which some models have in the place of a reward.
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
            Tile(rounded(pairs.margin), "mean margin", "reward of chosen minus rejected"),
            Tile(f"{pairs.count:,}", "pairs", count(pairs.ties, "tie")),
        ]
    if rewards:
        first, median, last = (rounded(summary.rewards[each]) for each in ("5%", "50%", "95%"))
        tiles.append(Tile(median, "median reward", f"5% to 95%: {first} to {last}"))
    if objectives.values:
        samples = max(each.count for each in objectives.values.values())
        names = count(len(objectives.values), "objective")
        tiles.append(Tile(f"{samples:,}", "samples with objectives", names))
    if rewards or not objectives.values:
        cut = f"{count(truncated.count, 'sample')} truncated"
        tiles.append(Tile(f"{rewards:,}", "rewards", cut))
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
