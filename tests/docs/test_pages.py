"""The pages fit together, and fit the package."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

import pytest

import reward_client

from . import pages

if TYPE_CHECKING:
    from pathlib import Path

VERSION_HEADING = re.compile(r"^## \[?(\d+\.\d+\.\d+)", re.MULTILINE)


def test_changelog_is_of_this_version() -> None:
    top = VERSION_HEADING.search(pages.text(pages.ROOT / "CHANGELOG.md"))
    assert top is not None
    assert top[1] == reward_client.__version__


def test_every_version_says_whether_scores_change() -> None:
    changelog = pages.text(pages.ROOT / "CHANGELOG.md")
    _, *entries = re.split(r"^## ", changelog, flags=re.MULTILINE)
    assert all("\n### Scores\n" in entry for entry in entries)


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", pages.text(page))
    missing = [
        target for target in targets if "://" not in target and not (page.parent / target).exists()
    ]
    assert not missing


def test_every_page_is_in_an_index() -> None:
    listed = {
        (index.parent / entry).with_suffix(".md")
        for index in pages.DOCS.rglob("index.md")
        for entry in pages.text(index).split("```{toctree}", maxsplit=1)[1].split("```")[0].split()
    }
    site = {page for page in pages.PAGES if pages.DOCS in page.parents}
    assert site - listed == {pages.DOCS / "index.md"}


def test_drawing_of_the_modules_has_the_layers_that_are_held() -> None:
    project = tomllib.loads(pages.text(pages.ROOT / "pyproject.toml"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    held = [set(re.findall(r"reward_client\.([\w.]+)", layer)) - {"_version"} for layer in layers]
    drawing = pages.text(pages.DOCS / "explanation/module-map.md").split("```text\n", maxsplit=1)[1]
    lines = drawing.split("\n\n", maxsplit=1)[0].splitlines()
    assert [
        held_there & set(line.split()) for held_there, line in zip(held, lines, strict=True)
    ] == held
