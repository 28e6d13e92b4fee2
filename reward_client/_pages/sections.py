"""The content of a page, without its looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from reward_client._pages.drawing import Drawing


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure of the headline.

    Attributes:
        value: The figure.
        label: Its name.
        detail: A further fact, such as an interval.
    """

    value: str
    label: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        caption: Its content in a few words.
        head: The names of the columns.
        rows: The cells, as many in each row as the head has.
        texts: The number of columns with texts, before those with numbers.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart, and the table of its numbers.

    Attributes:
        title: Its content in a few words.
        description: What it shows, for readers who cannot see it.
        drawing: The chart.
        table: Its numbers.
        note: What a reader has to know, below the chart.
    """

    title: str
    description: str
    drawing: Drawing
    table: Table
    note: str = ""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A row of the data.

    Attributes:
        title: The number of the row, and the facts about it.
        texts: Labels and texts, which come from the data.
    """

    title: str
    texts: Sequence[tuple[str, str]]


Block: TypeAlias = str | Sequence[Tile] | Table | Figure | Excerpt
"""A part of a section. A text is a paragraph."""


@dataclass(frozen=True, slots=True)
class Section:
    """A section of a page.

    Attributes:
        title: Its heading.
        blocks: Its content from top to bottom. Figures and tables that follow each other stand
            beside each other where there is room.
    """

    title: str
    blocks: Sequence[Block]
