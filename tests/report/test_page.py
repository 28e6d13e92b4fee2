"""A page stands alone, shows texts as texts, and never replaces anything but a report."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from reward_client import FileError, InputError
from reward_client._pages.charts import Interval, intervals
from reward_client._pages.page import render
from reward_client._pages.sections import Figure, Section, Table
from reward_client._version import __version__
from reward_client.report import write_report
from reward_client.report.writer import write_with_sections

from .conftest import Page, Report, failed, pair, single, write_scored

EVIL = "</dd></style><script>alert(1)</script>\"'&<img src=x onerror=y>"
RTL = "\u202egnp.exe\u2066 \x1b[31m\x00\x07"
ROWS = [
    pair(1.0, 2.0, prompt=EVIL, chosen=RTL, rejected="x" * 1_000_000, subset="<b>&"),
    pair(3.0, 0.0, prompt="p", chosen="c", rejected="r", subset='"\u202e'),
    failed("Evil<Error>", EVIL + RTL, subset="<b>&"),
]


@pytest.fixture
def page(report: Report) -> Page:
    rows = [pair(n / 3, n / 7, token_count={"chosen": n + 9, "rejected": 20}) for n in range(40)]
    return report(*ROWS, *rows, by="subset", title=EVIL + RTL)


def test_80_texts_stay_texts(page: Page) -> None:
    assert "<script" not in page.html
    assert "<img" not in page.html
    assert page.words.count("<script>alert(1)</script>") >= 3
    assert page.html.count("</style>") == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.html)
    assert r"\u202egnp.exe\u2066 \x1b[31m\x00\x07" in page.html


def test_long_texts_are_shortened(page: Page) -> None:
    assert len(page.html) < 200_000
    assert "[…998,800 characters…]" in page.words


def test_pictures_are_whole_and_can_be_read_aloud(page: Page) -> None:
    assert len(page.drawings) >= 5
    names = re.findall(r' id="([^"]+)"', page.html)
    assert len({*names}) == len(names)
    for drawing in page.drawings:
        svg = "{http://www.w3.org/2000/svg}"
        labels = (drawing.get("aria-labelledby") or "").split()
        parts = {part.get("id"): part.text for part in drawing.iter()}
        assert [bool(parts[label]) for label in labels] == [True, True]
        assert drawing.get("role") == "img"
        assert drawing.find(f"{svg}title") is not None
    # Each has a table of its numbers.
    assert page.html.count("<details>") == page.html.count("<figure>") == len(page.drawings)


def test_shapes_stay_in_their_picture(page: Page) -> None:
    for drawing in page.drawings:
        _, _, width, height = map(float, (drawing.get("viewBox") or "").split())
        for shape in drawing.iter():
            for name in ("x", "x1", "x2", "cx"):
                assert 0 <= float(shape.get(name, 0)) <= width
            for name in ("y", "y1", "y2", "cy"):
                assert 0 <= float(shape.get(name, 0)) <= height
            if "width" in shape.attrib:
                assert float(shape.attrib["width"]) >= 0
                assert float(shape.attrib["height"]) >= 0


def test_nothing_is_loaded(page: Page) -> None:
    tags = " ".join(re.findall(r"<[^>]+>", page.html))
    targets = re.findall(r"""(?:src|href|action|data|poster)\s*=\s*["']?([^"'\s>]+)""", tags)
    assert len(targets) >= 8
    assert all(target.startswith("#") for target in targets)
    assert not re.search(r"url\(|@import|@font-face", page.html)
    addresses = {*re.findall(r"\w+://[^\s\"<]+", page.html)}
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, not an address to load
    assert "default-src 'none'" in page.html


def test_light_dark_and_paper(page: Page) -> None:
    assert "@media (prefers-color-scheme: dark)" in page.html
    assert '<meta name="color-scheme" content="light dark">' in page.html
    assert "@media print" in page.html
    assert '<html lang="en">' in page.html


def test_the_colours_of_both_schemes_can_be_read(page: Page) -> None:
    """Texts have a contrast of 4.5:1 or more (WCAG 2.2, 1.4.3), and lines of charts one of 3:1."""
    for block in re.findall(r":root \{(.*?)\}", page.html, re.DOTALL):
        colours = dict(re.findall(r"--(\w+): (#\w{6})", block))
        for ground in ("card", "page"):
            for name, least in [("ink", 7), ("soft", 4.5), ("link", 4.5)]:
                assert contrast(colours[name], colours[ground]) >= least, (name, ground, colours)
        for name in ("first", "second"):
            assert contrast(colours[name], colours["card"]) >= 3


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_title_and_version(report: Report) -> None:
    page = report(single(1.0), title="Our <model>")
    assert "<title>Our &lt;model&gt;</title>" in page.html
    assert "<h1>Our &lt;model&gt;</h1>" in page.html
    assert f"Written by reward-client {__version__}, 20" in page.words
    assert "<h1>Rewards of scored.jsonl</h1>" in report(single(1.0)).html


def test_a_report_replaces_a_report(report: Report, tmp_path: Path) -> None:
    report(single(1.0), title="old")
    assert "new" in report(single(2.0), title="new").words
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["report.html", "scored.jsonl"]


@pytest.mark.parametrize("content", [b"mine", b"<html><body>mine", b"\xff" * 2000])
def test_nothing_else_is_replaced(tmp_path: Path, content: bytes) -> None:
    scored = write_scored(tmp_path / "scored.jsonl", [single(1.0)])
    target = tmp_path / "report.html"
    target.write_bytes(content)
    with pytest.raises(FileError, match="it exists, and is no report of this program"):
        write_report(scored, target)
    assert target.read_bytes() == content


def test_an_empty_file_is_replaced(tmp_path: Path) -> None:
    scored = write_scored(tmp_path / "scored.jsonl", [single(1.0)])
    (tmp_path / "report.html").touch()
    write_report(scored, tmp_path / "report.html")
    assert Page(tmp_path / "report.html").sections


def test_the_source_is_no_destination(tmp_path: Path) -> None:
    scored = write_scored(tmp_path / "scored.jsonl", [single(1.0)])
    before = scored.read_bytes()
    (tmp_path / "link").symlink_to(scored)
    for target in (scored, tmp_path / "link"):
        with pytest.raises(FileError, match="as both input and output"):
            write_report(scored, target)
    assert scored.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it has no rows"),
        ("\n\n", "it has no rows"),
        ('{"prompt": "a", "response": "b"}\n', "its row 0 has no reward"),
        ('{"prompt": "a", "reward": 3}\n', "its row 0 has no reward"),  # somebody else's column
        ("[1]\n", "its row 0 cannot be read"),
        ("a,b\n1,2\n", "its row 0 cannot be read"),
        (
            '{"reward": 1.0, "form": "text"}\nx\n{"reward": 1.0, "form": "text"}\n',
            "its row 1 cannot",
        ),
        ("x", "its row 0 cannot be read"),
    ],
)
def test_a_file_that_is_not_scored(tmp_path: Path, content: str, reason: str) -> None:
    source = tmp_path / "in"
    source.write_text(content)
    with pytest.raises(FileError, match=f"^Cannot report on {re.escape(str(source))}: {reason}"):
        write_report(source, tmp_path / "out.html")
    assert not (tmp_path / "out.html").exists()


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    scored = write_scored(tmp_path / "scored.jsonl", [single(1.0), single(2.0)])
    scored.write_bytes(scored.read_bytes()[:-9])
    write_report(scored, tmp_path / "out.html")
    words = Page(tmp_path / "out.html").words
    assert "rows 1 none failed" in words
    assert "The last line of the file is not whole" in words


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        write_report(tmp_path / "none", tmp_path / "out.html")
    scored = write_scored(tmp_path / "scored.jsonl", [single(1.0)])
    with pytest.raises(FileError, match="does not exist"):
        write_report(scored, tmp_path / "none" / "out.html")
    with pytest.raises(FileError, match="not a regular file"):
        write_report(scored, tmp_path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"by": ""}, "by= must be the name of a column"),
        ({"by": 3}, "by= must be the name of a column"),
        ({"by": "nothing"}, "Cannot group by 'nothing': no row has the column. There are: row, "),
        ({"title": 3}, "title= must be a str, not an int"),
    ],
)
def test_invalid_options(report: Report, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=re.escape(reason)):
        report(single(1.0), **options)


@pytest.mark.parametrize("path", [None, 3, b"scored.jsonl"])
def test_no_paths(path: Any, tmp_path: Path) -> None:
    for arguments in ((path, tmp_path / "out"), (tmp_path / "in", path)):
        with pytest.raises(InputError, match="is no path"):
            write_report(*arguments)


def test_a_compressed_file(tmp_path: Path) -> None:
    scored = tmp_path / "scored.jsonl.gz"
    scored.write_bytes(gzip.compress(json.dumps(single(1.5)).encode()))
    write_report(scored, tmp_path / "out.html")
    assert "all values are 1.5" in Page(tmp_path / "out.html").words


def test_sections_of_others(tmp_path: Path) -> None:
    """The seam for results that no scored file holds."""
    part = Interval("easy", 0.75, 0.5, 0.9)
    table = Table("Results <of> a benchmark", ["subset", "accuracy"], [["easy & hard", "75.0%"]])
    figure = Figure("Chart", "One point.", intervals("accuracy", [part], 0.7), table)
    scored = write_scored(tmp_path / "scored.jsonl", [single(1.0)])
    section = Section("Benchmark", ["In words.", table, figure])
    write_with_sections(scored, tmp_path / "out.html", [section], by=None, title=None)
    page = Page(tmp_path / "out.html")
    assert page.sections[:2] == ["Overview", "Benchmark"]
    assert (
        page.tables("Results <of> a benchmark")
        == [[["subset", "accuracy"], ["easy & hard", "75.0%"]]] * 2
    )
    assert len(page.drawings) == 1


def test_a_page_without_sections() -> None:
    assert "<main>" in render("Empty", [], [], "end")
