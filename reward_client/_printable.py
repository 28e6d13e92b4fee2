"""Text of servers, files and models, on its way to a terminal, a log or an error message."""

from __future__ import annotations

import logging


def printable(text: str) -> str:
    """Return a text with escapes in the place of control characters; line breaks stay.

    By such characters, a text could control the terminal, or hide and reorder what it shows.
    """
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() or char == "\n"
        else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def one_line(text: str) -> str:
    """Return a text with escapes in the place of line breaks too.

    Without them, a name could begin a line of its own in a report, and say there what it likes.
    """
    return printable(text).replace("\n", "\\n")


def escape_record(record: logging.LogRecord) -> bool:
    """Escape the control characters of a log record: a filter for a logger, which keeps it."""
    record.msg, record.args = printable(record.getMessage()), ()
    return True
