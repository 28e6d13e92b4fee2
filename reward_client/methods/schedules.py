"""The pairs that a judge of two compares. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, islice
from math import gcd
from random import Random
from typing import Literal, TypeAlias, get_args

from reward_client.errors import InputError

NamedSchedule: TypeAlias = Literal["all", "circular", "knockout"]
Schedule: TypeAlias = NamedSchedule | int
"""The name of a schedule, or the number of pairs."""

Pair: TypeAlias = tuple[int, int]


def is_schedule(value: object) -> bool:
    """Return True for a schedule."""
    if isinstance(value, str):
        return value in get_args(NamedSchedule)
    return type(value) is int and value > 0


def pair_count(schedule: Schedule, size: int) -> int:
    """Return the number of pairs that are compared among some responses.

    Raises:
        InputError: If the pairs are too few to connect the responses.
    """
    most = size * (size - 1) // 2
    match schedule:
        case "all":
            return most
        case "circular":
            return min(size, most)
        case "knockout":
            return max(size - 1, 0)
        case _:
            if schedule < size - 1:
                raise InputError(
                    f"Cannot rank {size} responses by {schedule} pairs: {size - 1} are the fewest "
                    f"that connect them. Give schedule={size - 1} or more."
                )
            return min(schedule, most)


def pairs_of(schedule: Schedule, entrants: Sequence[int], seed: int) -> list[Pair]:
    """Return the pairs that are compared. A knockout has its own: see `matches`.

    Args:
        schedule: The schedule.
        entrants: The indices of the responses.
        seed: The seed of the circle in which a number of pairs places the responses.

    Raises:
        InputError: As `pair_count`.
    """
    count = pair_count(schedule, len(entrants))
    if schedule == "all":
        return [*combinations(entrants, 2)]
    circle = [*entrants]
    if schedule != "circular":
        Random(seed).shuffle(circle)  # noqa: S311 - no secret
    edges = islice(_edges(len(circle)), count)
    return [(circle[one], circle[other]) for one, other in edges]


def matches(standing: Sequence[int]) -> tuple[list[Pair], list[int]]:
    """Return the pairs of a round of a knockout, and who goes on without a match.

    Those are none, or the last one. It comes first in the next round, so that it is not left over
    twice in a row.
    """
    pairs = [*zip(standing[::2], standing[1::2], strict=False)]
    return pairs, [*standing[2 * len(pairs) :]]


def _edges(size: int) -> Iterator[Pair]:
    """Yield all pairs of places on a circle: first neighbours, then places two apart, and so on.

    Any number of first pairs is a balanced part, and `size` - 1 of them connect all places.
    """
    yield from ((place, place + 1) for place in range(size - 1))
    if size > 2:
        yield (size - 1, 0)
    for distance in range(2, size // 2 + 1):
        yield from _edges_apart(size, distance)


def _edges_apart(size: int, distance: int) -> Iterator[Pair]:
    """Yield the pairs of places some steps apart: first such that no place comes twice."""
    if 2 * distance == size:
        yield from ((place, place + distance) for place in range(distance))
        return
    rings = gcd(size, distance)
    length = size // rings
    # No two of the first half of a ring touch. An odd ring leaves one place to its last pair.
    positions = [*range(0, length - 1, 2), *[length - 1] * (length % 2), *range(1, length, 2)]
    for position in positions:
        for ring in range(rings):
            start = (ring + position * distance) % size
            yield start, (start + distance) % size
