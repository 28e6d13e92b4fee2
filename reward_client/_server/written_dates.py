"""Dates in texts, whatever their spelling. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise, permutations, product

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTH_NAMES = frozenset(name[:size] for name in _MONTHS for size in (3, 4, len(name)))
_WORDS = re.compile(r"\d+|[^\W\d_]+")
_COMPACT = ("%Y%m%d", "%d%m%Y", "%m%d%Y", "%y%m%d", "%Y%j")
# "Saturday, the 28th of November 2026" and "year: 2026, month: 11, day: 28" are dates.
_MOST_APART = 25
_GAP = 2
_LABELS = frozenset({"day", "month", "year"})
_EPOCH_UNITS = {10: 1, 13: 1_000}
"""The digits of a time since 1970, until 2286, and how many of its units are a second."""


def today_in(texts: Sequence[str]) -> str | None:
    """Return the day in ISO format, if a date of these days stands in a text.

    The writer may be in another time zone.
    """
    today = datetime.now(UTC).date()
    for days in (0, 1, -1):
        day = today + timedelta(days)
        if any(is_written(day, text) for text in texts):
            return day.isoformat()
    return None


def is_written(day: date, text: str) -> bool:
    """Return True if a text holds a day, its parts in any order.

    The parts are year, month and day; weekday, month and day; year and week; or year and day of the
    year. The seconds since 1970 hold all of them. Names may be English: `strftime` of a server
    writes no others.
    """
    words = [*_WORDS.finditer(text.casefold())]
    month, weekday = _MONTHS[day.month - 1], _WEEKDAYS[day.weekday()]
    names = {month, month[:3], month[:4]}
    months = {*names, f"{day.month}", f"{day.month:02}"}
    days = {f"{day.day}", f"{day.day:02}"}
    years, of_year = {f"{day:%Y}"}, {f"{day:%j}"}
    weeks = {f"{day:%U}", f"{day:%W}", f"{day:%V}"}
    compact = {f"{day:{pattern}}" for pattern in _COMPACT}
    near = (
        (years, months, days),
        ({weekday, weekday[:3]}, names, days),
        ({*years, f"{day:%G}"}, {"w", "kw", "week"}, weeks),
        (years, {"day"}, of_year),
    )
    return (
        f"{day:%Y-%j}" in text
        or any(word[0] in compact or _day_of_epoch(word[0]) == day for word in words)
        or any(_stand_near(words, parts) for parts in near)
        # The two digits of a short year may mean anything, unless the others stand beside them.
        or _are_adjacent(words, ({f"{day:%y}"}, months, days))
        or _are_alone(words, (years, names, days))
        or (
            len(_LABELS.intersection(word[0] for word in words)) > 1
            and _are_alone(words, (years, months, days))
        )
    )


def _day_of_epoch(word: str) -> date | None:
    unit = _EPOCH_UNITS.get(len(word)) if word.isascii() and word.isdigit() else None
    return None if unit is None else datetime.fromtimestamp(int(word) // unit, UTC).date()


def _stand_near(words: Sequence[re.Match[str]], parts: Sequence[Collection[str]]) -> bool:
    """Return True if one word for each part stand close together."""
    first, *rest = parts
    for word in words:
        if word[0] not in first:
            continue
        near = [each for each in words if each is not word and _span((word, each)) <= _MOST_APART]
        others = ([each for each in near if each[0] in part] for part in rest)
        if any(
            len({each.start() for each in chosen}) == len(chosen)
            and _span((word, *chosen)) <= _MOST_APART
            for chosen in product(*others)
        ):
            return True
    return False


def _are_adjacent(words: Sequence[re.Match[str]], parts: Sequence[Collection[str]]) -> bool:
    """Return True if words for all parts follow each other, in any order, with nothing between."""
    return any(
        all(word[0] in part for word, part in zip(order, parts, strict=True))
        for beside in zip(*(words[start:] for start in range(len(parts))), strict=False)
        if all(after.start() - before.end() <= _GAP for before, after in pairwise(beside))
        for order in permutations(beside)
    )


def _are_alone(words: Sequence[re.Match[str]], parts: Sequence[Collection[str]]) -> bool:
    """Return True if words for all parts follow each other with no other number or month between.

    However far apart they stand, nothing else belongs to them.
    """
    dated = [word[0] for word in words if word[0].isdecimal() or word[0] in _MONTH_NAMES]
    return any(
        all(word in part for word, part in zip(order, parts, strict=True))
        for following in zip(*(dated[start:] for start in range(len(parts))), strict=False)
        for order in permutations(following)
    )


def _span(words: Sequence[re.Match[str]]) -> int:
    """Return the number of characters from the first word to the end of the last."""
    return max(word.end() for word in words) - min(word.start() for word in words)
