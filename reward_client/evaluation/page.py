"""The tables of evaluations, as sections of a report."""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._pages.sections import Block, Section, Table, Tile
from reward_client.evaluation.comparison import ModelComparison
from reward_client.evaluation.results import Evaluation


def evaluation_section(evaluation: Evaluation) -> Section:
    """Return the section with the table of one model."""
    headline = evaluation.measures[0]
    tiles = [Tile(f"{100 * headline.value:.2f} %", headline.name, evaluation.model or "")]
    table = Table("All parts of the benchmark", evaluation.head(), _dashed(evaluation.cells()))
    remarks: list[Block] = [*evaluation.remarks()]
    return Section(evaluation.title, [tiles, table, *remarks])


def comparison_section(comparison: ModelComparison) -> Section:
    """Return the section that compares two models."""
    headline = comparison.measures[0]
    low, high = headline.interval
    tiles = [
        Tile(
            f"{100 * headline.difference:+.2f}",
            f"{headline.path[-1]}, A - B, in percentage points",
            f"95 % interval {100 * low:+.2f} to {100 * high:+.2f}",
        )
    ]
    table = Table("Both models on the same rows", comparison.head(), _dashed(comparison.cells()))
    remarks: list[Block] = [*comparison.models(), *comparison.remarks()]
    return Section("Two models", [tiles, table, *remarks])


def _dashed(cells: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Write dashes for the indents of names, which a browser drops."""
    return [(name.replace("  ", "- "), *numbers) for name, *numbers in cells]
