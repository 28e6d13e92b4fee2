"""Tables and drawings in the documentation agree with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import reward_client

from . import pages
from .tables import COUNTS, TABLES, count_cells, error_tree


@pytest.mark.parametrize("name", TABLES)
def test_table(name: str) -> None:
    """If it fails, `python -m tests.docs.refresh --fast` writes the table."""
    assert TABLES[name].written() == TABLES[name].rows()


def test_the_number_of_tests_behind_each_cell(tmp_path: Path) -> None:
    """If it fails, `python -m tests.docs.refresh` counts the tests."""
    counted = tmp_path / "cells.json"
    count_cells(counted)
    assert counted.read_text("utf-8") == COUNTS.read_text("utf-8")


def test_error_tree() -> None:
    assert error_tree() in pages.text(pages.DOCS / "reference/errors.md")


def test_every_public_name_has_its_reference() -> None:
    reference = pages.text(pages.DOCS / "reference/api.md")
    directives = re.findall(r"^\.\. [\w:]+:: (?:reward_client\.)?(\w+)", reference, re.MULTILINE)
    assert set(reward_client.__all__) <= set(directives)
