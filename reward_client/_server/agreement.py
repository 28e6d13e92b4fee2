"""Compare two results that may belong to one sample, up to the rounding of an engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from reward_client._server.state import ServerState, is_same, score_tolerance
from reward_client.errors import RewardClientError
from reward_client.heads import Scores

# In bfloat16, the other samples of a batch move the reward of a long one by up to 1 % of the range
# of rewards, seldom more. Rewards of two samples of one range differ by a third of it on average.
_SHARE = 0.05

Ranges = dict[str, tuple[float, float]]


def ranges_of(state: ServerState, scores: Iterable[Scores]) -> Ranges:
    """Return the smallest and the largest number of each label, over the probes and samples.

    The probes count too: the samples may be few, or nearly equal, and rounding is the model's.
    """
    found: defaultdict[str, list[float]] = defaultdict(list)
    for each in (*_probes(state), *scores):
        for label, number in _numbers(each):
            found[label].append(number)
    return {label: (min(numbers), max(numbers)) for label, numbers in found.items()}


def may_be_same(state: ServerState, one: Scores, other: Scores, ranges: Ranges) -> bool:
    """Return True if a server may give both for one sample, in different requests."""
    mine, theirs = [*_numbers(one)], [*_numbers(other)]
    tolerance = score_tolerance(state.provenance)
    return len(mine) == len(theirs) and all(
        is_same([number], [another], tolerance)
        or abs(number - another) <= _SHARE * (ranges[label][1] - ranges[label][0])
        for (label, number), (_, another) in zip(mine, theirs, strict=True)
    )


def main_number(scores: Scores) -> float:
    """Return the number that stands for a result in a message."""
    return next(number for _, number in _numbers(scores))


def _numbers(scores: Scores) -> Iterator[tuple[str, float]]:
    """Yield each number with its label; all steps have one."""
    if scores.value is not None:
        yield "", scores.value
    for name, number in scores.objectives.items():
        yield f"objective {name}", number
    for step in scores.steps:
        yield "step", step.value


def _probes(state: ServerState) -> Iterator[Scores]:
    for output, ids in zip(state.outputs, state.probes, strict=True):
        try:
            yield state.read(output, ids)
        except RewardClientError:  # the head reads no such sample
            continue
