"""Regular expressions of callers and recipes, over texts of models: neither can hang the process.

The standard library cannot end a search that backtracks, nor can another thread or a signal. The
package `regex` reads the same syntax and checks a deadline while it searches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reward_client.errors import GenerationError, InputError

if TYPE_CHECKING:
    import regex

SEARCH_SECONDS = 1.0
"""The deadline of one search. A linear pattern needs some milliseconds for the longest text."""
SEARCHED_CHARACTERS = 1_000_000
"""The longest text, some 250,000 tokens."""


def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """Compile a pattern; compiling the same one again costs a lookup.

    Raises:
        InputError: If the pattern is not a valid regular expression.
    """
    import regex  # some 0.1 s, which only judges need

    try:
        return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        raise InputError(f"pattern= is not a valid regular expression: {error}.") from error


def last_group(pattern: str, text: str) -> str | None:
    """Return the first group of the last match; None without a match.

    Raises:
        GenerationError: If the text is too long, or the search exceeds its deadline.
    """
    if len(text) > SEARCHED_CHARACTERS:
        raise GenerationError(
            f"Cannot search the text for pattern=: it has more than {SEARCHED_CHARACTERS:,} "
            "characters. Lower max_tokens=.",
            text=text,
        )
    found: str | None = None
    try:
        for match in compile_pattern(pattern).finditer(text, timeout=SEARCH_SECONDS):
            found = match[1]
    except TimeoutError as error:
        raise GenerationError(
            f"Cannot search the text for pattern=: the search takes more than {SEARCH_SECONDS:g} "
            "s, because the pattern backtracks. Write one whose neighbouring repetitions cannot "
            "match the same characters, such as \\[\\[([^\\[\\]]*)\\]\\].",
            text=text,
        ) from error
    return found
