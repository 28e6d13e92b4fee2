"""Dates in the text of a chat template, whatever their spelling."""

from __future__ import annotations

from datetime import date

import pytest

from reward_client._server.template_look import is_written

DAY = date(2026, 11, 28)


@pytest.mark.parametrize(
    "text",
    [
        *("28 Nov 2026", "NOVEMBER 28, 2026", "28 November, 2026", "Nov. 28th, 2026", "28Nov2026"),
        *("2026-11-28", "11-28-2026", "28-11-26", "11/28/26", "2026. 11. 28.", "2026年11月28日"),
        *("20261128", "28112026", "2026-11-28T10:00:00Z", "28 de November de 2026", "26.11.28"),
        "Cutting Knowledge Date: December 2023\nToday Date: 28 Nov 2026\n\n",
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
        "2026: much text stands between the year and the day, 28 November",
    ],
)
def test_what_is_no_date(text: str) -> None:
    assert not is_written(DAY, f"<|system|>{text}<|end|>")


def test_one_number_is_not_both_month_and_day() -> None:
    assert not is_written(date(2026, 11, 11), "2026-11")
    assert is_written(date(2026, 11, 11), "2026-11-11")
    assert not is_written(date(2026, 11, 11), "11-26")
