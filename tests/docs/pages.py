"""The pages of the documentation, and the code blocks in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, SkipParser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    if DOCS / "_build" not in page.parents
)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def languages(page: Path) -> set[str]:
    """Return the languages of the fenced blocks of a page."""
    fences = re.findall(r"^ *(`{3,})([^\n`]*)\n.*?^ *\1 *$", text(page), re.MULTILINE | re.DOTALL)
    return {language.strip() for _, language in fences}


def blocks(page: Path, language: str, evaluate: Callable[[Example], None]) -> Iterator[Example]:
    """Return the fenced blocks of one language, and the comments that skip a block."""
    return iter(Document.parse(str(page), CodeBlockParser(language, evaluate), SkipParser()))


def sections(page: Path) -> dict[str, str]:
    """Return the text below each second-level heading; the text before them under ""."""
    first, *others = re.split(r"^## (.+)\n", text(page), flags=re.MULTILINE)
    return {"": first, **dict(zip(others[::2], others[1::2], strict=True))}


def fenced(section: str, language: str) -> list[str]:
    """Return the fenced blocks of one language in a part of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
