"""The bars of a histogram on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from reward_client._base.wording import percent

if TYPE_CHECKING:
    from reward_client.files import Bin

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_WIDEST_BAR = 60


def bars(bins: Sequence[Bin], width: int, encoding: str) -> Iterator[str]:
    """Iterate over lines with the edges, a bar and the share of each bin.

    Args:
        bins: The bins of a histogram.
        width: The number of columns of the terminal.
        encoding: The encoding of the terminal. Bars are ASCII if it lacks blocks.
    """
    blocks = _EIGHTHS if _can_show(_EIGHTHS, encoding) else " #"
    edges = [(f"{each.low:.4g}", f"{each.high:.4g}") for each in bins]
    low, high = (max(map(len, column)) for column in zip(*edges, strict=True))
    most = max(each.share for each in bins)
    room = max(1, min(_WIDEST_BAR, width - low - high - len("   to     100.0%") - 1))
    for (start, end), each in zip(edges, bins, strict=True):
        bar = _bar(room * each.share / most, blocks).ljust(room)
        yield f"  {start:>{low}} to {end:>{high}}  {bar}  {percent(each.share):>6}"


def _bar(length: float, blocks: str) -> str:
    parts = len(blocks) - 1
    # A bin that holds anything has a bar.
    whole, rest = divmod(max(round(length * parts), 1 if length else 0), parts)
    return blocks[-1] * whole + (blocks[rest] if rest else "")


def _can_show(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
