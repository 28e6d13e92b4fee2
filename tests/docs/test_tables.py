"""Tables and drawings in the documentation say what the code does."""

from __future__ import annotations

import re

import pytest

import reward_client
from reward_client import errors

from . import pages
from .tables import ERAS, TABLES, era_name, written


@pytest.mark.parametrize("name", TABLES)
def test_table(name: str) -> None:
    """Where it fails, `python tests/docs/tables.py` writes the table anew."""
    assert TABLES[name].written() == TABLES[name].rows()


def test_version_table_of_the_readme() -> None:
    header = "| vLLM from | One value per conversation | One value per token | Known from |"
    rows = [row.strip("| ").split(" | ") for row in written(pages.ROOT / "README.md", header)]
    assert [(since, source) for since, *_, source in rows] == [
        (era_name(era), era.source) for era in ERAS
    ]


def test_error_tree() -> None:
    (tree,) = (part for part in (errors.__doc__ or "").split("\n\n") if "├──" in part)
    drawn = "\n".join(line.removeprefix("    ") for line in tree.splitlines()).replace("``", "")
    assert drawn in pages.text(pages.DOCS / "errors-and-retries.md")


def test_every_public_name_has_its_reference() -> None:
    reference = pages.text(pages.DOCS / "reference.md")
    directives = re.findall(r"^\.\. [\w:]+:: (?:reward_client\.)?(\w+)", reference, re.MULTILINE)
    assert set(reward_client.__all__) <= set(directives)
