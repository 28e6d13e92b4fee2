"""Marks that say which cell of the table of versions, kinds and routes a test stands behind."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Literal, TypeAlias

import pytest

Outcome: TypeAlias = Literal["raw", "raw, by the server's flag", "recovered", "error"]


def cell(version: str, kind: str, route: str, outcome: Outcome) -> pytest.MarkDecorator:
    """Marks a test that shows what comes of one cell.

    Args:
        version: vLLM's.
        kind: What is served, in the words of the table.
        route: The one that the client is told to take, or takes by itself.
        outcome: The raw value, one recovered from what the server applied, or a typed error.
    """
    return pytest.mark.cell(version, kind, route, outcome)


def counted(items: list[pytest.Item]) -> list[list[str | int]]:
    """Version, kind, route, outcome, evidence, and the number of tests of each."""
    counts = Counter(
        (*mark.args, _evidence(item)) for item in items for mark in item.iter_markers("cell")
    )
    return [[*key, count] for key, count in sorted(counts.items())]


def write(items: list[pytest.Item], path: Path) -> None:
    """Writes the numbers of the collected tests."""
    lines = ",\n".join(json.dumps(row) for row in counted(items))
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _evidence(item: pytest.Item) -> str:
    """What a test talks to: a real server, recordings of one, or the test server."""
    folders = item.path.parts
    if "vllm" in folders:
        return "live"
    return "recorded" if "recorded" in folders else "emulated"
