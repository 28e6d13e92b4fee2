"""The pictures show what the program does now.

If a test fails, `python -m tests.docs.pictures` draws the pictures again.
"""

from __future__ import annotations

import re
import struct
from itertools import islice
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from . import pages, pictures, report_pictures
from .drawings.house import CONTENTS, layers
from .drawings.svg import site_style

if TYPE_CHECKING:
    from pathlib import Path

NUMBER = re.compile(r"-?\d+\.\d+")
SAVED = sorted(pictures.FOLDER.glob("*.svg"))


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_a_picture_is_up_to_date(name: str) -> None:
    for file, drawn in pictures.files(name):
        saved = pages.text(pictures.FOLDER / file)
        assert NUMBER.sub("", saved) == NUMBER.sub("", drawn)
        # The last digit of a reward differs between machines.
        expected = [float(number) for number in NUMBER.findall(drawn)]
        assert [*map(float, NUMBER.findall(saved))] == pytest.approx(expected, abs=2e-3)


def test_no_picture_is_left_over() -> None:
    drawn = {file for name in pictures.PICTURES for file in pictures.names(name)}
    assert {path.name for path in SAVED} == drawn


def test_the_style_of_the_site_is_up_to_date() -> None:
    assert pages.text(pictures.STYLE) == site_style()


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_a_picture_can_be_read_aloud_and_loads_nothing(path: Path) -> None:
    svg = ET.fromstring(pages.text(path))
    parts = {part.get("id"): part.text for part in svg}
    assert svg.get("role") == "img"
    assert all(parts[name] for name in (svg.get("aria-labelledby") or "").split())
    assert not re.search(r"href|url\(|@import|<script", pages.text(path))


def test_every_picture_is_on_a_page() -> None:
    shown = {name for page in pages.PAGES for name in re.findall(r"(\w+)\.svg", pages.text(page))}
    assert set(pictures.PICTURES) <= shown


def test_the_readme_shows_pictures_that_exist() -> None:
    targets = re.findall(r'src(?:set)?="([^"]+)"', pages.text(pages.ROOT / "README.md"))
    assert targets
    assert all((pages.ROOT / target).is_file() for target in targets)


def test_the_map_describes_the_packages_of_the_contract() -> None:
    packages = {package for row in layers() for package in row}
    assert {*CONTENTS} == packages | {"testing"}


def test_photographs_are_small_and_on_their_page() -> None:
    shown = pages.text(pages.DOCS / "how-to" / "report.md")
    assert {path.name for path in pictures.FOLDER.glob("*.png")} == {*report_pictures.PICTURES}
    for name, (_, width, height, _) in report_pictures.PICTURES.items():
        content = (pictures.FOLDER / name).read_bytes()
        assert len(content) < 150_000
        # The header of a PNG: its size stands after the name of the first chunk.
        assert struct.unpack(">II", content[16:24]) == (width, height)
        assert f"(../pictures/{name})" in shown


def test_the_rows_of_the_photographs_are_pairs() -> None:
    rows = [*islice(report_pictures.rows(), 200)]
    assert len({row["subset"] for row in rows}) == 5
    assert all(row["chosen"] != row["rejected"] for row in rows)
