"""Bars fit into the terminal, and their lengths are the shares."""

from __future__ import annotations

import pytest

from reward_client.cli._histogram import bars
from reward_client.files import Bin

BINS = [Bin(-1.0, 0.0, 0.25), Bin(0.0, 1.0, 0.5), Bin(1.0, 2.0, 0.0), Bin(2.0, 12.5, 0.25)]


def test_bars_of_blocks() -> None:
    assert [*bars(BINS, 39, "utf-8")] == [
        "  -1 to    0  ████████           25.0%",
        "   0 to    1  ████████████████   50.0%",
        "   1 to    2                      0.0%",
        "   2 to 12.5  ████████           25.0%",
    ]


def test_bars_of_ascii() -> None:
    lines = [*bars(BINS, 39, "latin-1")]
    assert lines[1] == "   0 to    1  ################   50.0%"
    assert all(line.isascii() for line in lines)


@pytest.mark.parametrize("encoding", ["utf-8", "no-such-encoding"])
@pytest.mark.parametrize("width", [0, 1, 20, 500])
def test_any_width(width: int, encoding: str) -> None:
    assert max(map(len, bars(BINS, width, encoding))) <= max(width, 30)


def test_what_is_rare_can_be_seen() -> None:
    first, _ = bars([Bin(0, 1, 1e-6), Bin(1, 2, 1 - 1e-6)], 60, "utf-8")
    assert "▏" in first
