"""Rankings of responses to one prompt, and what training reads from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Literal, NoReturn, TypeAlias, get_args

from pydantic import ConfigDict, SerializerFunctionWrapHandler, field_serializer, model_serializer

from reward_client._base.bradley_terry import PairResult, fit
from reward_client._base.choices import check_choice
from reward_client._base.results import Result, Reward, Usage
from reward_client._base.showing import Short, html_table
from reward_client.errors import BatchError, InputError, RewardClientError

Scale: TypeAlias = Literal["std", "none"]
"""The scale of advantages: the standard deviation of the group, or that of the rewards."""

_ADDED_TO_STD = 1e-4
"""TRL's addition to the standard deviation (``grpo_trainer.py``, TRL 1.16)."""


class Comparison(Result):
    """A judge's comparison of two responses.

    Attributes:
        first: The index of the response that the judge read first.
        second: The index of the other response.
        preference: The mean of all votes, from -1 (the second is better) to 1 (the first is).
        critiques: The judge's texts, one for each vote.
        usage: The tokens that these texts cost.
    """

    first: int
    second: int
    preference: float
    critiques: tuple[str, ...]
    usage: Usage


class FailedComparison(Result):
    """A comparison that gave no verdict. It counts neither as a win nor as a loss.

    Attributes:
        first: The index of the response that the judge read first.
        second: The index of the other response.
        error: The error.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    first: int
    second: int
    error: RewardClientError

    @field_serializer("error")
    def _plain_error(self, error: RewardClientError) -> dict[str, str]:
        return _plain(error)


class Strength(Result):
    """The strength of a response by the model of Bradley and Terry, in logits.

    The first of two responses wins with the probability 1 / (1 + exp(second - first)).

    Attributes:
        value: The strength. Those of all responses have the mean 0.
        low: The lower bound of its 95 % interval.
        high: The upper bound.
    """

    value: float
    low: float
    high: float


class Ranking(Result):
    """Responses to one prompt, best first.

    A response that failed has None in ``rewards`` and its error in ``errors``. Only
    ``rank_many(on_error="return")`` gives such rankings.

    Attributes:
        responses: The responses, in the order of the call.
        order: The indices of the responses that have a reward, from best to worst. Equal rewards
            keep their order.
        rewards: The rewards in the order of the responses.
        errors: The errors in the order of the responses; None for those with a reward.
        comparisons: The comparisons behind the rewards, if a judge compared the responses.
        failed_comparisons: The comparisons that gave no verdict.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    responses: tuple[str, ...]
    order: tuple[int, ...]
    rewards: tuple[Reward | None, ...]
    errors: tuple[RewardClientError | None, ...]
    comparisons: tuple[Comparison, ...] = ()
    failed_comparisons: tuple[FailedComparison, ...] = ()

    @property
    def best(self) -> str:
        """The response with the highest reward; the first one if several are equal.

        Raises:
            BatchError: If no response has a reward.
        """
        return self.responses[self.best_index]

    @property
    def best_index(self) -> int:
        """The index of the best response.

        Raises:
            BatchError: If no response has a reward.
        """
        if not self.order:
            raise self._nothing_ranked()
        return self.order[0]

    @property
    def worst(self) -> str:
        """The response with the lowest reward; the last one if several are equal.

        Raises:
            BatchError: If no response has a reward.
        """
        if not self.order:
            raise self._nothing_ranked()
        return self.responses[self.order[-1]]

    @property
    def margin(self) -> float | None:
        """The best reward minus the second best; None if fewer than two responses have one."""
        best, second, *_ = [*self._values_from_best(), None, None]
        return None if best is None or second is None else best - second

    @property
    def strengths(self) -> tuple[Strength | None, ...]:
        """The strengths behind a judge's comparisons, in the order of the responses.

        They have the largest likelihood (Bradley and Terry, Biometrika 39, 1952, p. 324), with a
        normal prior of standard deviation 3. The prior keeps the strength of a response that never
        lost finite. Each vote is a trial, and a tie half a win. The intervals come from the inverse
        of Fisher's information. They are too narrow if trials depend on each other: if the judge
        favors a position, or repeats itself.

        A response without a reward has None. Empty if no responses were compared.
        """
        if not self.comparisons:
            return ()
        places = {index: place for place, index in enumerate(sorted(self.order))}
        counted = counted_comparisons(self.comparisons, self.failed_comparisons)
        fitted = fit(len(places), trials(counted, places))
        return tuple(
            Strength(**fitted[places[index]]._asdict()) if index in places else None
            for index in range(len(self.responses))
        )

    def advantages(self, *, scale: Scale = "std") -> list[float | None]:
        """Return the advantage of each response over its group, as GRPO trains on it.

        The advantage is the reward minus the mean of the group (GRPO, arXiv 2402.03300, section
        4.1.2). The paper divides it by the standard deviation and names no estimator. This method
        takes TRL's: the square root of the unbiased variance (n - 1), plus 1e-4. Dr. GRPO (arXiv
        2503.20783) does not divide.

        Args:
            scale: ``"std"`` divides by the standard deviation, ``"none"`` does not.

        Returns:
            A number for each response, in their order. Equal rewards have 0, and so has a
            response that is alone. A response that failed has None, and no part in the mean and in
            the deviation.

        Raises:
            InputError: If the scale is none of the two.
        """
        check_choice("scale", scale, get_args(Scale))
        numbers = _advantages([*self._values_from_best()], scale)
        by_index = dict(zip(self.order, numbers, strict=True))
        return [by_index.get(index) for index in range(len(self.responses))]

    def _values_from_best(self) -> Iterable[float]:
        ordered = (self.rewards[index] for index in self.order)
        return (reward.value for reward in ordered if reward is not None)

    def _nothing_ranked(self) -> BatchError:
        first = next((error for error in self.errors if error is not None), None)
        error = BatchError(
            f"Cannot name a response: none of {len(self.responses)} has a reward. Read "
            f"ranking.errors. The first one: {first}"
        )
        error.__cause__ = copy(first)
        return error

    @field_serializer("errors")
    def _plain_errors(
        self, errors: tuple[RewardClientError | None, ...]
    ) -> list[dict[str, str] | None]:
        return [None if error is None else _plain(error) for error in errors]

    @model_serializer(mode="wrap")
    def _with_best(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        index = self.order[0] if self.order else None
        best = None if index is None else self.responses[index]
        return {"best": best, "best_index": index, **dump(self)}

    def __iter__(self) -> NoReturn:
        """Refuse, as a reward does."""
        raise TypeError(
            "Cannot iterate over a ranking. Write ranking.order for the indices from best to "
            "worst, [reward.row() for reward in ranking.rewards] for the rows of a table, or "
            "ranking.model_dump() for a dict."
        )

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        """Yield the order and the values."""
        if self.order:
            yield "best", Short(self.best)
            yield "best_index", self.best_index
        yield "order", Short(self.order)
        yield "rewards", Short(tuple(reward and reward.value for reward in self.rewards))

    def _repr_html_(self) -> str:
        values = self._values_from_best()
        rows = [(place, *each) for place, each in enumerate(zip(self.order, values, strict=True))]
        return html_table(rows, ("place", "index", "value"))


def ranking(
    responses: Sequence[str],
    outcomes: Sequence[Reward | RewardClientError],
    comparisons: Sequence[Comparison] = (),
    failed_comparisons: Sequence[FailedComparison] = (),
) -> Ranking:
    """Rank responses by their rewards, best first. Equal rewards keep their order.

    Raises:
        InputError: If the rewards have no single value.
    """
    rewards = tuple(each if isinstance(each, Reward) else None for each in outcomes)
    values = {index: reward.scalar for index, reward in enumerate(rewards) if reward is not None}
    scalars = {index: value for index, value in values.items() if value is not None}
    if len(scalars) < len(values):
        raise InputError(
            "Cannot rank: these rewards have several objectives and no single value. Give "
            "head=ObjectiveHead(names, weights)."
        )
    return Ranking(
        responses=tuple(responses),
        order=tuple(sorted(scalars, key=lambda index: -scalars[index])),
        rewards=rewards,
        errors=tuple(each if isinstance(each, RewardClientError) else None for each in outcomes),
        comparisons=tuple(comparisons),
        failed_comparisons=tuple(failed_comparisons),
    )


def counted_comparisons(
    comparisons: Iterable[Comparison], failed: Iterable[FailedComparison]
) -> list[Comparison]:
    """Return the comparisons of pairs of which none failed.

    One order alone would count the judge's opinion of the position.
    """
    without = {frozenset((each.first, each.second)) for each in failed}
    return [each for each in comparisons if frozenset((each.first, each.second)) not in without]


def trials(comparisons: Iterable[Comparison], places: Mapping[int, int]) -> list[PairResult]:
    """Return comparisons as results of trials; each vote is a trial.

    Args:
        comparisons: The comparisons.
        places: The numbers of the responses in the result; comparisons of others are left out.
    """
    return [
        PairResult(
            places[each.first],
            places[each.second],
            (1 + each.preference) / 2 * len(each.critiques),
            len(each.critiques),
        )
        for each in comparisons
        if each.first in places and each.second in places
    ]


def _advantages(values: Sequence[float], scale: Scale) -> list[float]:
    """Return centred values, scaled or not. See `Ranking.advantages`."""
    # The mean of equal numbers may differ from them by a rounding, which is no difference.
    if not values or min(values) == max(values):
        return [0.0] * len(values)
    mean = math.fsum(value / len(values) for value in values)
    centred = [value - mean for value in values]
    if scale == "none":
        return centred
    deviation = math.hypot(*centred) / math.sqrt(len(values) - 1)
    return [value / (deviation + _ADDED_TO_STD) for value in centred]


def _plain(error: RewardClientError) -> dict[str, str]:
    return {"type": type(error).__name__, "message": str(error)}
