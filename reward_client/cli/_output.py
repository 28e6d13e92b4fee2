"""The only place where commands write text for people."""

from __future__ import annotations

import sys

from reward_client._printable import printable


def show(text: object, *, is_error: bool = False) -> None:
    """Write a line to stdout, or to stderr for an error.

    Control characters, and characters that the terminal's encoding lacks, become escapes: the text
    may come from a server, a file or a model.
    """
    stream = sys.stderr if is_error else sys.stdout
    encoding = stream.encoding or "utf-8"
    line = printable(str(text)).encode(encoding, "backslashreplace").decode(encoding)
    print(line, file=stream, flush=True)
