"""One self-contained page of HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import count, groupby

from reward_client._pages.drawing import WIDTH, shown
from reward_client._pages.sections import Block, Excerpt, Figure, Section, Table, Tile
from reward_client._printable import printable

GENERATOR = '<meta name="generator" content="reward-client report">'
"""Marks a page as ours, so that it may be written again."""
# No script, no font and no picture from elsewhere, even if a text should break out of its place.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(title: str, facts: Sequence[str], sections: Sequence[Section], footer: str) -> str:
    """Return a page.

    Args:
        title: The heading.
        facts: Lines below the heading.
        sections: The content.
        footer: The last line.
    """
    style = files("reward_client._pages").joinpath("page.css").read_text("utf-8")
    numbers = count(1)
    anchors = [f"s{number}" for number in range(1, len(sections) + 1)]
    links = "".join(
        f'<li><a href="#{anchor}">{shown(section.title)}</a></li>'
        for anchor, section in zip(anchors, sections, strict=True)
    )
    body = "".join(
        _section(anchor, section, numbers)
        for anchor, section in zip(anchors, sections, strict=True)
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
{GENERATOR}
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{shown(title)}</title>
<style>
{style}</style>
</head>
<body>
<header>
<h1>{shown(title)}</h1>
{"".join(f"<p>{shown(fact)}</p>" for fact in facts)}
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main>
{body}</main>
<footer><p>{shown(footer)}</p></footer>
</body>
</html>
"""


def _section(anchor: str, section: Section, numbers: Iterator[int]) -> str:
    parts: list[str] = []
    for is_wide, blocks in groupby(section.blocks, lambda block: isinstance(block, Figure | Table)):
        rendered = "".join(_block(block, numbers) for block in blocks)
        parts.append(f'<div class="figures">\n{rendered}</div>\n' if is_wide else rendered)
    heading = f'<h2 id="{anchor}">{shown(section.title)}</h2>'
    return f'<section aria-labelledby="{anchor}">\n{heading}\n{"".join(parts)}</section>\n'


def _block(block: Block, numbers: Iterator[int]) -> str:
    match block:
        case str():
            return f"<p>{shown(block)}</p>\n"
        case Table():
            return _table(block)
        case Figure():
            return _figure(block, f"f{next(numbers)}")
        case Excerpt():
            return _excerpt(block)
        case _:
            return f'<ul class="tiles">{"".join(map(_tile, block))}</ul>\n'


def _tile(tile: Tile) -> str:
    detail = f'<span class="detail">{shown(tile.detail)}</span>' if tile.detail else ""
    return (
        f'<li><span class="label">{shown(tile.label)}</span>'
        f'<span class="value">{shown(tile.value)}</span>{detail}</li>'
    )


def _table(table: Table) -> str:
    head = "".join(
        _cell("th", cell, is_number=index >= table.texts, scope='scope="col"')
        for index, cell in enumerate(table.head)
    )
    rows = "".join(f"<tr>{_row(row, table.texts)}</tr>\n" for row in table.rows)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{shown(table.caption)}">\n'
        f"<table><caption>{shown(table.caption)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}</tbody></table></div>\n"
    )


def _row(row: Sequence[str], texts: int) -> str:
    """Return the cells of a row, of which the first one names it if it is a text."""
    cells = [_cell("td", cell, is_number=index >= texts) for index, cell in enumerate(row)]
    if texts:
        cells[0] = _cell("th", row[0], is_number=False, scope='scope="row"')
    return "".join(cells)


def _cell(tag: str, text: str, *, is_number: bool, scope: str = "") -> str:
    kind = 'class="n"' if is_number else ""
    return f"<{' '.join(filter(None, (tag, scope, kind)))}>{shown(text)}</{tag}>"


def _figure(figure: Figure, name: str) -> str:
    height = figure.drawing.height
    shapes = "\n".join(figure.drawing.shapes)
    note = f'<p class="note">{shown(figure.note)}</p>\n' if figure.note else ""
    return (
        f"<figure>\n<figcaption>{shown(figure.title)}</figcaption>\n"
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="{name}-t {name}-d" '
        f'viewBox="0 0 {WIDTH:g} {height:g}">\n'
        f'<title id="{name}-t">{shown(figure.title)}</title>\n'
        f'<desc id="{name}-d">{shown(figure.description)}</desc>\n{shapes}\n</svg>\n{note}'
        f"<details><summary>Numbers</summary>\n{_table(figure.table)}</details>\n</figure>\n"
    )


def _excerpt(excerpt: Excerpt) -> str:
    texts = "".join(
        f'<div><dt>{shown(label)}</dt><dd dir="auto">{_long(text)}</dd></div>\n'
        for label, text in excerpt.texts
    )
    return f"<article>\n<h3>{shown(excerpt.title)}</h3>\n<dl>\n{texts}</dl></article>\n"


def _long(text: str) -> str:
    """Return a text of several lines, without control characters."""
    return escape(printable(re.sub(r"\r\n?", "\n", text)))
