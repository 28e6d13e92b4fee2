"""The pairs that are most wrong; without pairs, the lowest and the highest rewards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappush, heapreplace

from reward_client._pages.sections import Block, Excerpt, Section
from reward_client._rows.scored import ScoredRow
from reward_client.report.texts import excerpts

_PAIRS = 20
_SINGLE = 10

Texts = Sequence[tuple[str, str]]


class _Largest:
    """The excerpts of the largest values of a stream; of equal values, the first ones."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: list[tuple[float, int, Excerpt]] = []

    def takes(self, value: float) -> bool:
        """Return True if a value is among the largest so far."""
        return len(self._found) < self._most or value > self._found[0][0]

    def add(self, value: float, position: int, excerpt: Excerpt) -> None:
        """Take a value of the row at a position."""
        item = (value, -position, excerpt)
        if len(self._found) < self._most:
            heappush(self._found, item)
        else:
            heapreplace(self._found, item)

    def excerpts(self) -> list[Excerpt]:
        """Return the excerpts, the largest value first."""
        return [excerpt for _, _, excerpt in sorted(self._found, reverse=True)]


class Extremes:
    """Keeps the texts of a few rows. They are shortened at once, as rows may be large."""

    def __init__(self) -> None:
        self._wrong = _Largest(_PAIRS)
        self._low = _Largest(_SINGLE)
        self._high = _Largest(_SINGLE)
        self._has_pairs = False
        self._samples = 0

    def add(self, row: ScoredRow, position: int) -> None:
        """Take a row.

        Args:
            row: The row.
            position: Its number, from 0.
        """
        if row.pair is not None:
            self._has_pairs = True
            margin = row.pair.margin
            if margin < 0 and self._wrong.takes(-margin):
                chosen, rejected = (_numbers(row.pair.chosen), _numbers(row.pair.rejected))
                title = (
                    f"Row {position}: margin {margin:.4g} (chosen {chosen}, rejected {rejected})"
                )
                self._wrong.add(-margin, position, Excerpt(title, excerpts(row.columns)))
        if self._has_pairs:
            return
        for index, reward in enumerate(row.rewards):
            if reward is None:
                continue
            self._samples += 1
            for found, value in ((self._low, -reward), (self._high, reward)):
                if found.takes(value):
                    found.add(value, self._samples, _single(row, index, reward, position))

    def section(self) -> Section | None:
        """Return the section with the texts; None without rewards."""
        if self._has_pairs:
            wrong = self._wrong.excerpts()
            words = f"The pairs with the most negative margins, {_PAIRS} at most, the worst first."
            return Section(
                "Most wrong pairs", [words, *wrong] if wrong else ["No pair has a negative margin."]
            )
        if not self._samples:
            return None
        blocks: list[Block] = [f"At most {_SINGLE} of each kind, the most extreme first."]
        for title, found in (("Lowest", self._low), ("Highest", self._high)):
            blocks.append(f"{title} rewards:")
            blocks += found.excerpts()
        return Section("Lowest and highest rewards", blocks)


def _single(row: ScoredRow, index: int, reward: float, position: int) -> Excerpt:
    names = [*row.layout.sample_names()]
    name = f", {names[index]}" if names[index] else ""
    texts = excerpts(row.columns)
    if len(names) > 1:
        texts = [*_of_sample(texts, names[index], {*names})]
    return Excerpt(f"Row {position}{name}: reward {reward:.4g}", texts)


def _of_sample(texts: Texts, name: str, names: set[str]) -> Iterator[tuple[str, str]]:
    """Iterate over the texts that all samples share, and those of one sample."""
    for label, text in texts:
        owner = label.split(": ")[0]
        if owner == name or owner not in names:
            yield label, text


def _numbers(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:.4g}" for value in values[:8])
    return f"{shown}, …" if len(values) > 8 else shown
