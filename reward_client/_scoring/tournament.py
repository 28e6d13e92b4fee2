"""Comparisons of pairs as one reward for each response. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from reward_client._base.activation import sigmoid
from reward_client._base.bradley_terry import fit
from reward_client._base.ranking import (
    Comparison,
    FailedComparison,
    counted_comparisons,
    trials,
)
from reward_client._scoring.base import arithmetic_mean
from reward_client.methods.schedules import Pair, matches

_ALONE = 0.5
"""The reward of a response without another one."""


def win_rates(
    entrants: Sequence[int], comparisons: Sequence[Comparison], failed: Sequence[FailedComparison]
) -> dict[int, float]:
    """Return how often each response is better than the others, from 0 to 1.

    The share of a pair that was not compared is its probability by the strengths that fit all
    comparisons (Bradley and Terry). Responses that no chain of comparisons connects cannot be
    ranked together: the largest part counts, and of equal ones the first.
    """
    if len(entrants) == 1:
        return {entrants[0]: _ALONE}
    counted = counted_comparisons(comparisons, failed)
    part = _largest_part(entrants, counted)
    shares = shares_of(counted)
    places = {index: place for place, index in enumerate(part)}
    pairs = [(one, other) for one in part for other in part if one != other]
    if any(pair not in shares for pair in pairs):
        values = [each.value for each in fit(len(part), trials(counted, places))]
        for one, other in pairs:
            chance = sigmoid(values[places[one]] - values[places[other]])
            shares.setdefault((one, other), chance)
    return {
        one: arithmetic_mean([shares[one, other] for other in part if other != one])
        for one in part
        if len(part) > 1
    }


def survival(entrants: Sequence[int], comparisons: Sequence[Comparison]) -> dict[int, float]:
    """Return the share of a knockout's rounds that each response survived, from 0 to 1."""
    shares = shares_of(comparisons)
    rounds = [[*entrants]]
    while len(rounds[-1]) > 1:
        rounds.append(next_round(rounds[-1], shares))
    if len(rounds) == 1:
        return dict.fromkeys(entrants, _ALONE)
    survived = {index: sum(index in each for each in rounds[1:]) for index in entrants}
    return {index: count / (len(rounds) - 1) for index, count in survived.items()}


def next_round(standing: Sequence[int], shares: Mapping[Pair, float]) -> list[int]:
    """Return who stands after a round of a knockout. Of a tie, the first response goes on."""
    pairs, resting = matches(standing)
    winners = [
        one if (shares[one, other], -one) > (shares[other, one], -other) else other
        for one, other in pairs
    ]
    return [*resting, *winners]


def shares_of(comparisons: Iterable[Comparison]) -> dict[Pair, float]:
    """Return the share of wins of the first of two responses over the second, for both ways."""
    each_share: defaultdict[Pair, list[float]] = defaultdict(list)
    for each in comparisons:
        each_share[each.first, each.second].append((1 + each.preference) / 2)
        each_share[each.second, each.first].append((1 - each.preference) / 2)
    return {pair: arithmetic_mean(shares) for pair, shares in each_share.items()}


def _largest_part(entrants: Sequence[int], comparisons: Iterable[Comparison]) -> list[int]:
    """Return the largest part of the responses that comparisons connect."""
    part_of = {index: {index} for index in entrants}
    for each in comparisons:
        joined = part_of[each.first] | part_of[each.second]
        part_of.update(dict.fromkeys(joined, joined))
    largest = max(part_of.values(), key=len, default=set[int]())
    return [index for index in entrants if index in largest]
