"""The columns that are added to a row: its rewards, and what belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from reward_client._base.contest import Ranked, outcomes_of
from reward_client._base.results import Reward
from reward_client._rows.comparisons import comparison_objects
from reward_client._rows.errors import error_object
from reward_client._rows.layout import Layout
from reward_client.errors import InputError, RewardClientError

RESULTS = (
    *("form", "reward", "objectives", "step_rewards", "truncated", "token_count"),
    *("comparisons", "error"),
)
"""The names of all columns that may be added."""

_ALWAYS = ("form", "reward", "error")


def names_by_options(on_overlong: str | None, *, compares: bool) -> list[str]:
    """Return the names of the columns that a typed table has by the options of the client.

    Tables of one run then have the same columns, whatever happened to the rows of each.

    Args:
        on_overlong: The client's option; None for its default.
        compares: True if a judge compares the responses of each row.
    """
    truncated = ["truncated"] if on_overlong == "drop_turns" else []
    return [*_ALWAYS, *truncated, "token_count", *(["comparisons"] if compares else [])]


def added_names(results: Iterable[Mapping[str, object]]) -> list[str]:
    """Return the names of the columns: those that a row has, and those of every scored table."""
    present = {*_ALWAYS}
    for result in results:  # one after the other: those of a large file do not fit in memory
        present.update(result)
    return [name for name in RESULTS if name in present]


def result_columns(
    form: str, layout: Layout, outcomes: Sequence[Reward | RewardClientError]
) -> dict[str, object]:
    """Return the columns of a scored row, without those that do not apply to it.

    Args:
        form: The name of the row's form.
        layout: The layout of its values.
        outcomes: The outcomes of its samples; or one for all of them, if a judge compares them.
    """
    judged = outcomes[0] if len(outcomes) == 1 and layout.samples > 1 else None
    if judged is not None:
        outcomes = outcomes_of(judged, layout.samples)
    rewards = [outcome if isinstance(outcome, Reward) else None for outcome in outcomes]
    errors = [None if isinstance(each, Reward) else error_object(each) for each in outcomes]

    def laid(value: Callable[[Reward], object]) -> object:
        return layout.of([None if reward is None else value(reward) for reward in rewards])

    columns: dict[str, object] = {"form": form}
    columns["reward"] = laid(lambda reward: reward.scalar)
    if any(reward and reward.objectives for reward in rewards):
        columns["objectives"] = laid(lambda reward: reward.objectives)
    if any(reward and reward.steps for reward in rewards):
        columns["step_rewards"] = laid(lambda reward: [dict(step) for step in reward.steps])
    if any(reward and reward.truncated for reward in rewards):
        columns["truncated"] = laid(lambda reward: reward.truncated)
    columns["token_count"] = laid(lambda reward: reward.token_count)
    if isinstance(judged, Ranked):
        columns["comparisons"] = comparison_objects(judged.ranking, layout)
    if any(errors):
        columns["error"] = layout.of(errors)
    return columns


def refuse_clash(names: Iterable[str], added: Iterable[str] = RESULTS) -> None:
    """Refuse a row with a column of a name that is to be added.

    Raises:
        InputError: If it has one.
    """
    taken = [name for name in added if name in {*names}]
    if taken:
        raise InputError(
            f"Cannot add the column {taken[0]!r}: the row has one. Rename it or leave it out."
        )
