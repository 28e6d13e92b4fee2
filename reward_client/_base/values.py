"""Outcomes as plain numbers, for training code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias, cast, overload

from reward_client._base.ranking import Ranking
from reward_client._base.results import Reward, ScoreResult
from reward_client._base.wording import describe_type
from reward_client.errors import InputError, RewardClientError

Outcome: TypeAlias = Reward | RewardClientError | ScoreResult | None


@overload
def values(outcomes: Iterable[Ranking], failed: None = None) -> list[list[float | None]]: ...


@overload
def values(outcomes: Iterable[Ranking], failed: float | Literal["raise"]) -> list[list[float]]: ...


@overload
def values(outcomes: Iterable[Outcome], failed: None = None) -> list[float | None]: ...


@overload
def values(outcomes: Iterable[Outcome], failed: float | Literal["raise"]) -> list[float]: ...


def values(
    outcomes: Iterable[Outcome | Ranking], failed: float | Literal["raise"] | None = None
) -> list[float | None] | list[float] | list[list[float | None]] | list[list[float]]:
    """Return outcomes as plain numbers, in their order.

    Args:
        outcomes: Any iterable of rewards, errors and `ScoreResult`, or of rankings. None stands for
            a failure, as in ``ranking.rewards``.
        failed: The value of a failure: None, or a number, such as ``math.nan``. ``"raise"`` raises
            the first error instead.

    Returns:
        A list of floats; for rankings a list of floats for each, in the order of its responses.

    Raises:
        InputError: If a reward has several objectives and no single value, if something else is
            no outcome, or if ``failed`` is invalid.
        RewardClientError: The first error under ``"raise"``.
    """
    if failed is not None and failed != "raise" and type(failed) not in (int, float):
        raise InputError(f'failed= must be None, a number or "raise", not {describe_type(failed)}.')
    _check_many(outcomes)
    numbers = [
        [_value(*each, failed) for each in zip(outcome.rewards, outcome.errors, strict=True)]
        if isinstance(outcome, Ranking)
        else _value_of(outcome, failed)
        for outcome in outcomes
    ]
    return cast("list[float | None]", numbers)


def _check_many(outcomes: object) -> None:
    is_one = isinstance(outcomes, str | Reward | Ranking)
    if is_one or not hasattr(outcomes, "__iter__"):
        raise InputError(
            f"Many outcomes are expected, not {describe_type(outcomes)}. Write values([outcome])."
        )


def _value_of(outcome: object, failed: float | str | None) -> float | None:
    if isinstance(outcome, ScoreResult):
        return _value(outcome.reward, outcome.error, failed)
    if isinstance(outcome, Reward):
        return _value(outcome, None, failed)
    if outcome is None or isinstance(outcome, RewardClientError):
        return _value(None, outcome, failed)
    raise InputError(
        f"Cannot take {describe_type(outcome)} for an outcome. Pass rewards, errors, results of "
        "stream() or rankings."
    )


def _value(
    reward: Reward | None, error: RewardClientError | None, failed: float | str | None
) -> float | None:
    if reward is not None:
        if reward.scalar is None:
            raise InputError(
                "Cannot return a number: this reward has several objectives and no single value. "
                "Give head=ObjectiveHead(names, weights)."
            )
        return float(reward.scalar)
    if failed == "raise":
        raise error or InputError("Cannot return a number for None: a sample failed.")
    return None if failed is None else float(failed)
