"""Wording that error messages share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

# By the sound: "an int" and "an httpx.Timeout", but "a UserDict".
_TAKES_AN = re.compile(r"[aeio]|httpx|u(?!ni|s)", re.IGNORECASE)
_UNNAMED_MODULES = frozenset({"builtins", "__main__"})


def describe_type(value: object) -> str:
    """Return the type of a value, such as ``"an int"``, ``"a numpy.ndarray"`` or ``"None"``.

    The value itself is not shown: it may hold a prompt or a secret.
    """
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    package, name = type(value).__module__.split(".")[0], type(value).__name__
    if package not in _UNNAMED_MODULES:
        name = f"{package}.{name}"
    return f"{'an' if _TAKES_AN.match(name) else 'a'} {name}"


def shorten(text: str, length: int) -> str:
    """Return a text, cut to a number of characters with an ellipsis at its end."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def list_numbers(values: Iterable[float]) -> str:
    """Return numbers with six digits, separated by commas."""
    return ", ".join(f"{value:.6g}" for value in values)


def percent(share: float) -> str:
    """Return a part of 1 with one digit after the point, such as ``"87.5%"``."""
    return f"{share:.1%}"


def fixed(value: float) -> str:
    """Return a number for a column of a table: as a rule with three digits after the point."""
    if value == 0 or 1e-3 <= abs(value) < 1e3:
        return f"{value:.3f}"
    return f"{value:,.1f}" if 1e3 <= abs(value) < 1e7 else f"{value:.4g}"


def rounded(value: float) -> str:
    """Return a number with three digits, without an exponent if it has up to seven."""
    return f"{value:,.0f}" if 100 <= abs(value) < 1e7 else f"{value:.3g}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``"1 row"``, ``"1,000 rows"``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """Format a table: the first column to the left, all others to the right."""
    columns = max(map(len, table))
    filled = [[*row, *[""] * (columns - len(row))] for row in table]
    widths = [max(map(len, column)) for column in zip(*filled, strict=True)]
    for name, *numbers in filled:
        cells = [name.ljust(widths[0])]
        cells += [each.rjust(width) for each, width in zip(numbers, widths[1:], strict=True)]
        yield "  ".join(cells).rstrip()
