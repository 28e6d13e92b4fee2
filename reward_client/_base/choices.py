"""Options with a closed set of values, checked at run time and not only by type checkers."""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._base.wording import describe_type, shorten
from reward_client.errors import ExportError, InputError

_SHOWN_CHARACTERS = 40


def check_choice(
    name: str,
    value: object,
    choices: Sequence[object],
    error: type[InputError | ExportError] = InputError,
) -> None:
    """Check an option that takes one of a few values.

    Raises:
        InputError: If the value is none of the choices; or ``error``, if given.
    """
    # Types first: 1 equals True, and an array compares with anything, element by element.
    if any(isinstance(value, type(choice)) and value == choice for choice in choices):
        return
    given = repr(shorten(value, _SHOWN_CHARACTERS)) if isinstance(value, str) else None
    *others, last = [repr(choice) for choice in choices]
    raise error(
        f"{name}= must be {', '.join(others)} or {last}, not {given or describe_type(value)}."
    )


def check_flags(error: type[InputError | ExportError] = InputError, **flags: object) -> None:
    """Check options that are True or False: any non-empty text counts as true, even ``"no"``.

    Raises:
        InputError: If a value is neither; or ``error``, if given.
    """
    for name, value in flags.items():
        if not isinstance(value, bool):
            check_choice(name, value, (True, False), error)
