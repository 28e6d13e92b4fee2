"""Options of a client as text, of a command line or the environment. No code is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

from reward_client.errors import InputError, RewardClientError
from reward_client.heads import LinearHead, ObjectiveHead, ScalarHead, StepHead
from reward_client.methods import CritiqueThenScore, Pooled, TokenLogit, Verdict, YesNo

_HEADS: Mapping[str, Callable[..., Any]] = {
    each.__name__: each for each in (ScalarHead, StepHead, ObjectiveHead, LinearHead)
}
_METHODS: Mapping[str, Callable[..., Any]] = {
    each.__name__: each for each in (CritiqueThenScore, Pooled, TokenLogit, Verdict, YesNo)
}
# RFC 9110, section 5.6.2.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def head_of(text: str) -> object:
    """Parse a head in Python's notation: ``ObjectiveHead(5)``.

    Raises:
        InputError: If it is no call of a head with literal arguments.
    """
    return _called(text, _HEADS)


def method_of(text: str) -> object:
    """Parse a method in Python's notation: ``TokenLogit(0)``. A head may be its argument.

    Raises:
        InputError: If it is no call of a method with literal arguments.
    """
    return _called(text, _METHODS)


def recipe_of(text: str) -> str | None:
    """Return the ``recipe=`` that a text names; ``none`` is None."""
    return None if text == "none" else text


def header_of(text: str) -> tuple[str, str]:
    """Parse a header.

    Raises:
        InputError: If it is none. The error does not show it: it may hold a secret.
    """
    name, equals, value = text.partition("=")
    if not equals or not _HEADER_NAME.fullmatch(name):
        raise InputError("must be NAME=VALUE, such as x-api-key=…")
    return name.lower(), value


def _called(text: str, kinds: Mapping[str, Callable[..., Any]]) -> object:
    """Make the object that a call in Python's notation describes."""
    try:
        return _value(ast.parse(text.strip(), mode="eval").body, kinds)
    except RewardClientError as error:
        raise InputError(str(error)) from error
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        names = ", ".join(f"{kind}(…)" for kind in kinds)
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise InputError(
            f"Cannot read {text!r}: {reason}. Write one of {names}, as in Python"
        ) from error


def _value(node: ast.expr, kinds: Mapping[str, Callable[..., Any]]) -> object:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise TypeError("it is no call")
    if node.func.id not in kinds:
        raise ValueError(f"there is no {node.func.id}")
    arguments = [_argument(argument) for argument in node.args]
    named = {str(keyword.arg): _argument(keyword.value) for keyword in node.keywords}
    return kinds[node.func.id](*arguments, **named)


def _argument(node: ast.expr) -> object:
    if isinstance(node, ast.Call):
        return _value(node, _HEADS)
    return ast.literal_eval(node)
