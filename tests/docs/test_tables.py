"""Tables and drawings in the documentation say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import reward_client
from reward_client import errors

from . import pages
from .tables import COUNTS, TABLES, count_cells


@pytest.mark.parametrize("name", TABLES)
def test_table(name: str) -> None:
    """Where it fails, `python tests/docs/tables.py` writes the table anew."""
    assert TABLES[name].written() == TABLES[name].rows()


def test_the_number_of_tests_behind_each_cell(tmp_path: Path) -> None:
    """Where it fails, `python tests/docs/tables.py` counts anew."""
    counted = tmp_path / "cells.json"
    count_cells(counted)
    assert counted.read_text("utf-8") == COUNTS.read_text("utf-8")


def test_error_tree() -> None:
    (tree,) = (part for part in (errors.__doc__ or "").split("\n\n") if "├──" in part)
    drawn = "\n".join(line.removeprefix("    ") for line in tree.splitlines()).replace("``", "")
    assert drawn in pages.text(pages.DOCS / "reference/errors.md")


def test_every_public_name_has_its_reference() -> None:
    reference = pages.text(pages.DOCS / "reference/api.md")
    directives = re.findall(r"^\.\. [\w:]+:: (?:reward_client\.)?(\w+)", reference, re.MULTILINE)
    assert set(reward_client.__all__) <= set(directives)
