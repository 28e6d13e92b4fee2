"""What became of a file's rows, in memory that does not grow with them. Pure."""

from __future__ import annotations

import math
import random
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from reward_client._base.json_values import as_list, as_mapping

_KEPT = 50_000
"""Rewards that quantiles are taken of; of more, a sample of this size (half a percent of rank)."""
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary:
    """What became of a file's rows.

    Attributes:
        rows: How many there are, earlier runs included.
        failures: How many of them failed, by the type of the (first) error.
        kept: How many have the result of an earlier run.
        rewards: ``min``, ``5%``, ``25%``, ``50%``, ``75%``, ``95%`` and ``max`` of all rewards,
            those of several responses to a prompt included; empty if there are none. Quantiles of
            more than 50,000 rewards are those of a random sample.
        conversations: How many this run scored.
        tokens: How many tokens they have.
        seconds: How long it took.
    """

    rows: int
    failures: Mapping[str, int]
    kept: int
    rewards: Mapping[str, float]
    conversations: int
    tokens: int
    seconds: float

    @property
    def failed(self) -> int:
        """How many rows failed."""
        return sum(self.failures.values())

    def __str__(self) -> str:
        """Some lines for people."""
        lines = [f"{self.rows:,} rows: {self.rows - self.failed:,} scored, {self.failed:,} failed"]
        if self.failures:
            lines[0] += f" ({', '.join(f'{n:,} {kind}' for kind, n in self.failures.items())})"
        if self.kept:
            lines[0] += f"; {self.kept:,} of them in earlier runs"
        if self.rewards:
            shown = ", ".join(f"{name} {value:.4g}" for name, value in self.rewards.items())
            lines.append(f"rewards: {shown}")
        if self.conversations:
            lines.append(
                f"{self.conversations:,} conversations in {self.seconds:.1f} s: "
                f"{self.conversations / self.seconds:,.0f} conv/s, "
                f"{self.tokens / self.seconds:,.0f} tokens/s"
            )
        return "\n".join(lines)


class Tally:
    """Counts results as they are written, or found."""

    def __init__(self) -> None:
        self.rows = 0
        self.kept = 0
        self.conversations = 0
        self.tokens = 0
        self.failures: Counter[str] = Counter()
        self._rewards = _Rewards()

    def add(self, result: Mapping[str, object], *, is_kept: bool) -> None:
        """Counts a result.

        Args:
            result: What is written for a row.
            is_kept: Whether an earlier run wrote it.
        """
        self.rows += 1
        if "error" in result:
            self.failures[failure(result["error"])] += 1
        rewards = [*_each(result.get("reward"))]
        for reward in rewards:
            self._rewards.add(reward)
        if is_kept:
            self.kept += 1
        else:
            counts = [*_each(result.get("token_count"))]
            # Not all have a single reward, and not of all the tokens are known.
            self.conversations += max(len(rewards), len(counts))
            self.tokens += int(sum(counts))

    def summary(self, seconds: float) -> ScoreSummary:
        """What was counted."""
        return ScoreSummary(
            rows=self.rows,
            failures=dict(self.failures.most_common()),
            kept=self.kept,
            rewards=self._rewards.quantiles(),
            conversations=self.conversations,
            tokens=self.tokens,
            seconds=seconds,
        )


class _Rewards:
    """Rewards whose quantiles are wanted."""

    def __init__(self) -> None:
        self._count = 0
        self._sample = array("d")
        self._least = math.inf
        self._most = -math.inf
        self._random = random.Random(0)  # noqa: S311 - the same file, the same summary

    def add(self, reward: float) -> None:
        self._count += 1
        self._least = min(self._least, reward)
        self._most = max(self._most, reward)
        if len(self._sample) < _KEPT:
            self._sample.append(reward)
        else:
            place = self._random.randrange(self._count)
            if place < _KEPT:
                self._sample[place] = reward

    def quantiles(self) -> dict[str, float]:
        if not self._sample:
            return {}
        ranked = sorted(self._sample)
        middle = {f"{share:.0%}": ranked[round(share * (len(ranked) - 1))] for share in _QUANTILES}
        return {"min": self._least, **middle, "max": self._most}


def failure(error: object) -> str:
    """The type of an error, or of the first one where there is one for each sample."""
    laid_out = as_mapping(error) or {}
    if isinstance(kind := laid_out.get("type"), str):
        return kind
    several = chain(laid_out.values(), as_list(error) or ())
    return next((failure(each) for each in several if each is not None), "unknown")


def _each(value: object) -> Iterator[float]:
    """The numbers in a value of a result, however it is laid out."""
    if isinstance(value, int | float):
        yield value
    for each in chain((as_mapping(value) or {}).values(), as_list(value) or ()):
        if isinstance(each, int | float):
            yield each
