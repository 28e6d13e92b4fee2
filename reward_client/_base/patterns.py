"""Regular expressions of callers and recipes, over texts of models: neither can hang the process.

The standard library cannot end a search that backtracks, nor can another thread or a signal. The
package `regex` checks a deadline while it searches. It reads some patterns otherwise: with errors
allowed (``{e<=3}``), and with POSIX classes. So a pattern must be one of `re` and mean the same.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import TYPE_CHECKING

from reward_client.errors import GenerationError, InputError

if TYPE_CHECKING:
    import regex

SEARCH_SECONDS = 1.0
"""The deadline of one search. A linear pattern needs some milliseconds for the longest text."""
SEARCHED_CHARACTERS = 1_000_000
"""The longest text, some 250,000 tokens."""

_PART = re.compile(
    r"\\N\{[^}]*\}|\\.|\{(?=[\d,])\d*,?\d*\}|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<brace>\{)",
    re.DOTALL,
)
"""The parts of a pattern in which braces and classes stand."""
_POSIX_CLASS = re.compile(r"\[:[^\]]*:\]$")


@lru_cache
def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """Compile a pattern; compiling the same one again costs a lookup.

    Raises:
        InputError: If the pattern is not a valid regular expression of `re`, or `regex` reads it
            otherwise.
    """
    import regex  # some 0.1 s, which only judges need

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of nested sets, which `regex` has not
            re.compile(pattern)
        compiled = regex.compile(pattern)
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        raise InputError(f"pattern= is not a valid regular expression: {error}.") from error
    _refuse_other_meanings(pattern)
    return compiled


def _refuse_other_meanings(pattern: str) -> None:
    """Refuse what `regex` reads otherwise than `re`.

    Raises:
        InputError: If the pattern holds such a part.
    """
    for part in _PART.finditer(pattern):
        if part["brace"]:
            raise InputError(
                f"Cannot use pattern=: the {{ at position {part.start()} begins no repetition. "
                "Write \\{ for a brace."
            )
        posix = _POSIX_CLASS.search(part["set"] or "")
        if posix is not None:
            raise InputError(
                f"Cannot use pattern=: the meaning of {posix[0]} differs between libraries. Write "
                "\\d, \\w, \\s or a range, or \\[ for a bracket."
            )


def last_group(pattern: str, text: str) -> tuple[str, int] | None:
    """Return the first group of the last match, and its start; None without a match.

    Raises:
        GenerationError: If the text is too long, or the search exceeds its deadline.
    """
    if len(text) > SEARCHED_CHARACTERS:
        raise GenerationError(
            f"Cannot search the text for pattern=: it has more than {SEARCHED_CHARACTERS:,} "
            "characters. Lower max_tokens=.",
            text=text,
        )
    found: tuple[str, int] | None = None
    try:
        for match in compile_pattern(pattern).finditer(text, timeout=SEARCH_SECONDS):
            found = None if match[1] is None else (match[1], match.start(1))
    except (TimeoutError, MemoryError) as error:
        needs = (
            f"takes more than {SEARCH_SECONDS:g} s"
            if isinstance(error, TimeoutError)
            else "needs too much memory"
        )
        raise GenerationError(
            f"Cannot search the text for pattern=: the search {needs}, because the pattern "
            "backtracks. Write one whose neighbouring repetitions cannot "
            "match the same characters, such as \\[\\[([^\\[\\]]*)\\]\\].",
            text=text,
        ) from error
    return found
