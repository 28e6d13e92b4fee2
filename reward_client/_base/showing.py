"""Short reprs of results, and their tables in notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from reprlib import Repr

_SHORT = Repr()
_SHORT.maxstring, _SHORT.maxother = 60, 500
_SHORT.maxtuple = _SHORT.maxlist = _SHORT.maxdict = 6


class Short:
    """A value whose repr leaves out what a line has no room for."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        return _SHORT.repr(self._value)


def html_table(rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> str:
    """Return rows as an HTML table. Every value is escaped: it may come from a server."""
    head = f"<thead>{_line('th', header)}</thead>" if header else ""
    return f"<table>{head}<tbody>{''.join(_line('td', row) for row in rows)}</tbody></table>"


def _line(tag: str, cells: Sequence[object]) -> str:
    shown = (cell if isinstance(cell, str) else repr(Short(cell)) for cell in cells)
    return f"<tr>{''.join(f'<{tag}>{escape(text)}</{tag}>' for text in shown)}</tr>"
