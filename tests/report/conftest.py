"""Scored files by hand, and what a report says of them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from reward_client.report import write_report


def pair(good: object, bad: object, /, **columns: object) -> dict[str, Any]:
    rewards = {"chosen": good, "rejected": bad}
    return {"prompt": "2 + 2?", **columns, "form": "preference", "reward": rewards}


def single(reward: object, /, **columns: object) -> dict[str, Any]:
    return {"prompt": "2 + 2?", "response": "4", **columns, "form": "response", "reward": reward}


def failed(kind: str = "InputError", message: str = "no", **columns: object) -> dict[str, Any]:
    return {**columns, "reward": None, "error": {"type": kind, "message": message}}


def write_scored(path: Path, rows: Iterable[Any]) -> Path:
    lines = (json.dumps({"row": n, **row, "digest": "x"}) + "\n" for n, row in enumerate(rows))
    path.write_text("".join(lines), encoding="utf-8")
    return path


class Page:
    """A report, taken apart."""

    def __init__(self, path: Path) -> None:
        self.html = path.read_text(encoding="utf-8")

    @property
    def words(self) -> str:
        """All text in one line, without the style."""
        body = self.html.split("<body>")[1]
        return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())

    @property
    def sections(self) -> list[str]:
        return [html.unescape(each) for each in re.findall(r"<h2[^>]*>(.*?)</h2>", self.html)]

    def tables(self, caption: str) -> list[list[list[str]]]:
        """The cells of all tables with this caption."""
        found = []
        for table in re.findall(r"<table>(.*?)</table>", self.html, re.DOTALL):
            if f"<caption>{html.escape(caption)}</caption>" in table:
                rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
                cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
                found.append([[html.unescape(cell) for cell in row] for row in cells])
        return found

    def table(self, caption: str) -> list[list[str]]:
        (table,) = self.tables(caption)
        return table

    @property
    def drawings(self) -> list[ET.Element]:
        """All pictures, which must be well-formed."""
        found = re.findall(r"<svg.*?</svg>", self.html, re.DOTALL)
        return [ET.fromstring(svg) for svg in found]


Report = Callable[..., Page]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    """Writes rows, and the report on them."""

    def write(*rows: Any, **options: Any) -> Page:
        scored = write_scored(tmp_path / "scored.jsonl", rows)
        write_report(scored, tmp_path / "report.html", **options)
        return Page(tmp_path / "report.html")

    return write
