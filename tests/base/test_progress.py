"""Progress bars: on a terminal and in a notebook."""

from __future__ import annotations

import io
import sys

import pytest
import tqdm.auto
from tqdm.std import tqdm as bar_of_terminals

from reward_client._base.progress import progress_bar


class Notebook(bar_of_terminals):  # type: ignore[type-arg]
    """The bar of a notebook, whose output is no terminal."""


Notebook.__module__ = "tqdm.notebook"


@pytest.mark.parametrize(
    ("bar", "terminal", "is_shown", "shows"),
    [
        (bar_of_terminals, True, True, True),
        (bar_of_terminals, False, True, False),
        (bar_of_terminals, True, False, False),
        (Notebook, False, True, True),
        (Notebook, False, False, False),
    ],
)
def test_where_a_bar_shows(
    monkeypatch: pytest.MonkeyPatch, bar: type, *, terminal: bool, is_shown: bool, shows: bool
) -> None:
    output = io.StringIO()
    monkeypatch.setattr(output, "isatty", lambda: terminal)
    monkeypatch.setattr(sys, "stderr", output)
    monkeypatch.setattr(tqdm.auto, "tqdm", bar)
    with progress_bar(total=3, unit="conv", is_shown=is_shown) as shown:
        shown.update(2)
    assert ("2/3" in output.getvalue()) == bool(output.getvalue()) == shows
