"""Dates in texts, whatever their spelling."""

from __future__ import annotations

from datetime import date

import pytest

from reward_client._server.written_dates import is_written

DAY = date(2026, 11, 28)


@pytest.mark.parametrize(
    "text",
    [
        *("28 Nov 2026", "NOVEMBER 28, 2026", "28 November, 2026", "Nov. 28th, 2026", "28Nov2026"),
        *("2026-11-28", "11-28-2026", "28-11-26", "11/28/26", "2026. 11. 28.", "2026年11月28日"),
        *("20261128", "28112026", "2026-11-28T10:00:00Z", "28 de November de 2026", "26.11.28"),
        "Cutting Knowledge Date: December 2023\nToday Date: 28 Nov 2026\n\n",
        "Month: November\nDay of the month: 28\nYear: 2026",
        "Month of the year: 11\nDay of the month: 28\nYear: 2026",
        "November 28, in the year of our Lord 2026",
        "Trained in June 2024. The year is 2026, the month of now is November, and the day is 28.",
        "2026: much text stands between the year and the day, 28 November",
        *("Saturday, 28 November", "Sat Nov 28", "Nov 28 (Sat)", "2026-W48", "week 48 of 2026"),
        *("KW 48/2026", "Week 47, 2026", "2026-332", "2026332", "day 332 of 2026"),
        *("now=1795867200", "1795867200123 ms"),
    ],
)
def test_dates(text: str) -> None:
    assert is_written(DAY, f"<|system|>{text}<|end|>")


@pytest.mark.parametrize(
    "text",
    [
        *("", "28 and 11", "28 Nov", "Nov 2026", "2026", "2026-11", "28 Nov 2025", "27 Nov 2026"),
        *("26 Jul 2024", "11 items, 28 of them, 26 new", "version 2026.28", "12026-11-28"),
        *("What is 17 + 25? 42, 84", "1128", "28.11", "26 then 28 then 11", "28 Octember 2026"),
        "The 28 members met in 2026, and 11 of them came again",
        "2026 holds November, of 2025 there is no word, and on page 28 is none",
        "Cutting Knowledge Date: November 2026. Version 3 of the tool takes 28 arguments.",
        *("Knowledge Cutoff: November 2026", "Saturday", "Sunday, 28 November", "48", "week 48"),
        *("2026-W46", "332", "in 2026, 332 people", "1795000000", "1985867200", "Sat down, 28"),
        "The year 2026 had 11 members and 28 guests",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert not is_written(DAY, f"<|system|>{text}<|end|>")


def test_one_number_is_not_both_month_and_day() -> None:
    assert not is_written(date(2026, 11, 11), "2026-11")
    assert is_written(date(2026, 11, 11), "2026-11-11")
    assert not is_written(date(2026, 11, 11), "11-26")
