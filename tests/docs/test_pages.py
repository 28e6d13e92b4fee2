"""The pages fit together, and fit the package."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import reward_client

from . import pages

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = pages.ROOT / "reward_client"
MAP = pages.DOCS / "explanation" / "module-map.md"
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
        for toctree in pages.text(index).split("```{toctree}")[1:]
        for entry in toctree.split("```")[0].split()
    }
    site = {page for page in pages.PAGES if pages.DOCS in page.parents}
    assert site - listed == {pages.DOCS / "index.md"}


def test_module_map_names_every_package_and_no_other_module() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", pages.text(MAP), re.MULTILINE))
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages <= rows.keys()
    for package in packages & rows.keys():
        for name in re.findall(r"`([a-z_]+)(?:/)?`", rows[package]):
            found = [*(PACKAGE / package).rglob(f"{name}.py"), *(PACKAGE / package).rglob(name)]
            assert found, f"{package}: {name}"


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
def test_files_that_pages_name_exist(page: Path) -> None:
    named = re.findall(r"`((?:reward_client|tests|benchmarks|docs)/[\w./-]+)`", pages.text(page))
    written = [name for name in named if not name.endswith(".json")]  # results of a run
    assert [name for name in written if not (pages.ROOT / name).exists()] == []
