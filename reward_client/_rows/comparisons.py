"""The comparisons behind the rewards of a row, as a column. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.ranking import Ranking
from reward_client._rows.errors import error_object
from reward_client._rows.layout import Layout


def comparison_objects(ranking: Ranking, layout: Layout) -> list[dict[str, object]]:
    """Return the comparisons behind the rewards of a row, in the order of its responses.

    Args:
        ranking: The ranking of the responses.
        layout: The layout of the row, which names them.

    Returns:
        An object for each comparison: the ``first`` response that the judge read, the ``second``
        one, and the ``preference`` from -1 to 1. A comparison that failed has its ``error``.
    """
    by_places = dict(_by_places(ranking, [*layout.sample_names()]))
    return [by_places[places] for places in sorted(by_places)]


def _by_places(
    ranking: Ranking, names: Sequence[str]
) -> Iterator[tuple[tuple[int, int], dict[str, object]]]:
    for each in ranking.comparisons:
        named = {"first": names[each.first], "second": names[each.second]}
        yield (each.first, each.second), {**named, "preference": each.preference}
    for failed in ranking.failed_comparisons:
        named = {"first": names[failed.first], "second": names[failed.second]}
        error = error_object(failed.error)
        yield (failed.first, failed.second), {**named, "preference": None, "error": error}


def is_complete(result: Mapping[str, object]) -> bool:
    """Return True if no sample and no comparison of a scored row failed."""
    comparisons = [as_mapping(each) or {} for each in as_list(result.get("comparisons")) or ()]
    return "error" not in result and not any("error" in each for each in comparisons)
