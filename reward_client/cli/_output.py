"""The only place where commands write text for people."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import BinaryIO, Literal, TextIO, TypeAlias

from reward_client._printable import printable
from reward_client.errors import FileError

Colour: TypeAlias = Literal["red", "green", "yellow"]

_CODES: Mapping[Colour, int] = {"red": 31, "green": 32, "yellow": 33}
_NONE: Mapping[str, Colour] = MappingProxyType({})


def show(text: object, *, is_error: bool = False, colours: Mapping[str, Colour] = _NONE) -> None:
    """Write a line to stdout, or to stderr for an error.

    Control characters, and characters that the terminal's encoding lacks, become escapes: the text
    may come from a server, a file or a model.

    Args:
        text: The text.
        is_error: True for stderr.
        colours: Colours of words at the start of a line, on a terminal.

    Raises:
        FileError: If stdout cannot be written. An end of its reader, like that of `head`, is none.
    """
    stream = sys.stderr if is_error else sys.stdout
    if stream is None:  # the caller has closed it
        if is_error:
            return
        raise _closed()
    encoding = text_encoding(is_error=is_error)
    line = printable(str(text)).encode(encoding, "backslashreplace").decode(encoding)
    if colours and _shows_colours(stream):
        words = "|".join(map(re.escape, colours))
        line = re.sub(
            rf"(?m)^({words})(?!\S)",
            lambda word: f"\x1b[{_CODES[colours[word[1]]]}m{word[1]}\x1b[0m",
            line,
        )
    with suppress(OSError) if is_error else _stdout_errors():
        print(line, file=stream, flush=True)


def write(text: str) -> None:
    """Write a text of argparse to stdout as it stands, with its colours.

    Raises:
        FileError: As `show`.
    """
    with _stdout_errors():
        print(text, end="", flush=True)


def text_encoding(*, is_error: bool = False) -> str:
    """Return the encoding of stdout, or of stderr."""
    stream = sys.stderr if is_error else sys.stdout
    return getattr(stream, "encoding", None) or "utf-8"


@contextmanager
def _stdout_errors() -> Generator[None]:
    """Raise errors of stdout as `FileError`. The end of its reader is none."""
    try:
        yield
    except BrokenPipeError:
        pass
    except OSError as error:
        raise FileError(f"Cannot write to stdout: {error.strerror or error}.") from error


def binary_stdout() -> BinaryIO:
    """Return the stream of bytes to stdout.

    Raises:
        FileError: If the caller has closed stdout.
    """
    if sys.stdout is None:
        raise _closed()
    return sys.stdout.buffer


def flush_all() -> None:
    """Write what the streams still hold. Lead one that takes it no more to nowhere.

    Python itself would report it at the end of the program, with a status of its own.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is None:
            continue
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _closed() -> FileError:
    return FileError("Cannot write to stdout: it is closed.")


def show_error(error: object) -> None:
    """Write the reason why a command ends. Its further lines are indented: none can be forged."""
    text = str(error).replace("\n", "\n  ")
    show(f"reward-client: {text}", is_error=True, colours={"reward-client:": "red"})


def shows_progress() -> bool:
    """Return True if a progress bar is of use: on a terminal, not in a file or a pipe."""
    return sys.stderr is not None and sys.stderr.isatty()


def _shows_colours(stream: TextIO) -> bool:
    """Follow https://no-color.org and https://force-color.org, as Python's own programs do."""
    if os.environ.get("NO_COLOR"):
        return False
    if force := os.environ.get("FORCE_COLOR"):
        return force != "0"
    return stream.isatty() and os.environ.get("TERM") != "dumb"
