"""Strengths of things that were compared in pairs, by the model of Bradley and Terry. Pure.

The model: the first of two wins with the probability 1 / (1 + exp(s₂ - s₁)) (Bradley and Terry,
Biometrika 39, 1952, p. 324, with the logarithms of their ratings). The strengths s have the largest
likelihood of the results together with a normal prior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from reward_client._base.activation import sigmoid
from reward_client._base.statistics import Z_95

PRIOR_DEVIATION = 3.0
"""The standard deviation of the prior, in logits. Without a prior, the strength of somebody who
never lost would be infinite. The prior shrinks all strengths a little towards 0."""

_PRECISION = 1 / PRIOR_DEVIATION**2
_MOST_STEPS = 100
_LAST_STEP = 1e-10


class PairResult(NamedTuple):
    """The trials of a pair.

    Attributes:
        first: The index of the one.
        second: The index of the other.
        wins: The wins of the first. A tie counts one half.
        trials: The number of trials.
    """

    first: int
    second: int
    wins: float
    trials: float


class Fitted(NamedTuple):
    """A strength.

    Attributes:
        value: The strength in logits. All strengths have the mean 0.
        low: The lower bound of its 95 % interval.
        high: The upper bound.
    """

    value: float
    low: float
    high: float


def fit(size: int, results: Sequence[PairResult]) -> list[Fitted]:
    """Return the strengths that fit the results best.

    Newton's method on the logarithm of likelihood and prior, which is concave. The variances are
    the diagonal of the inverse of the observed information, which is Fisher's for this model, with
    the prior's part. They treat all trials as independent.

    Args:
        size: The number of those that were compared.
        results: The results of pairs. They connect all, or the strengths of the parts say nothing
            about each other.
    """
    strengths = [0.0] * size
    for step in count(1):
        information = _information(strengths, results)
        root = _cholesky(information)
        change = _solve(root, _gradient(strengths, results))
        strengths = _improved(strengths, change, results)
        if max(map(abs, change), default=0.0) < _LAST_STEP or step == _MOST_STEPS:
            break
    root = _cholesky(_information(strengths, results))
    return [_interval(value, _variance(root, index, size)) for index, value in enumerate(strengths)]


def _gradient(strengths: Sequence[float], results: Sequence[PairResult]) -> list[float]:
    gradient = [-_PRECISION * strength for strength in strengths]
    for first, second, wins, trials in results:
        surplus = wins - trials * sigmoid(strengths[first] - strengths[second])
        gradient[first] += surplus
        gradient[second] -= surplus
    return gradient


def _information(strengths: Sequence[float], results: Sequence[PairResult]) -> list[list[float]]:
    size = len(strengths)
    matrix = [[0.0] * size for _ in range(size)]
    for index in range(size):
        matrix[index][index] = _PRECISION
    for first, second, _, trials in results:
        chance = sigmoid(strengths[first] - strengths[second])
        weight = trials * chance * (1 - chance)
        matrix[first][first] += weight
        matrix[second][second] += weight
        matrix[first][second] -= weight
        matrix[second][first] -= weight
    return matrix


def _improved(
    strengths: Sequence[float], change: Sequence[float], results: Sequence[PairResult]
) -> list[float]:
    """Take a step, or as much of it as does not make the fit worse."""
    before = _objective(strengths, results)
    share = 1.0
    while True:
        after = [value + share * each for value, each in zip(strengths, change, strict=True)]
        if share < _LAST_STEP or _objective(after, results) >= before - _LAST_STEP:
            return after
        share /= 2


def _objective(strengths: Sequence[float], results: Sequence[PairResult]) -> float:
    total = -_PRECISION / 2 * math.fsum(value * value for value in strengths)
    for first, second, wins, trials in results:
        difference = strengths[first] - strengths[second]
        total -= wins * _softplus(-difference) + (trials - wins) * _softplus(difference)
    return total


def _softplus(value: float) -> float:
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))


def _interval(value: float, variance: float) -> Fitted:
    reach = Z_95 * math.sqrt(variance)
    return Fitted(value, value - reach, value + reach)


def _variance(root: Sequence[Sequence[float]], index: int, size: int) -> float:
    """Return the variance of a strength about the mean of all, which is fixed at 0."""
    unit = [float(place == index) for place in range(size)]
    return max(0.0, _solve(root, unit)[index] - 1 / (size * _PRECISION))


def _cholesky(matrix: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return the lower triangle whose product with its transpose is the matrix."""
    size = len(matrix)
    root = [[0.0] * size for _ in range(size)]
    for row in range(size):
        for column in range(row + 1):
            known = math.fsum(root[row][k] * root[column][k] for k in range(column))
            rest = matrix[row][column] - known
            root[row][column] = math.sqrt(rest) if row == column else rest / root[column][column]
    return root


def _solve(root: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Return the solution of the linear equations whose matrix has this root."""
    size = len(root)
    forward: list[float] = []
    for row in range(size):
        known = math.fsum(root[row][k] * forward[k] for k in range(row))
        forward.append((right[row] - known) / root[row][row])
    solution = [0.0] * size
    for row in reversed(range(size)):
        known = math.fsum(root[k][row] * solution[k] for k in range(row + 1, size))
        solution[row] = (forward[row] - known) / root[row][row]
    return solution
