"""Heads and methods on a command line, in Python's own notation: ``TokenLogit(0)``."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Mapping
from typing import Any

from reward_client import RewardClientError, heads, methods

_HEADS: Mapping[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (heads.ScalarHead, heads.StepHead, heads.ObjectiveHead, heads.LinearHead)
}
_METHODS: Mapping[str, Callable[..., Any]] = {
    each.__name__: each
    for each in (
        methods.CritiqueThenScore,
        methods.Pooled,
        methods.TokenLogit,
        methods.Verdict,
        methods.YesNo,
    )
}


def head(text: str) -> object:
    """Parse the head of ``--head``."""
    return _called(text, _HEADS)


def method(text: str) -> object:
    """Parse the method of ``--method``, whose head may be an argument."""
    return _called(text, _METHODS)


def _called(text: str, kinds: Mapping[str, Callable[..., Any]]) -> object:
    """Make the object that a call in Python's notation describes. No code is run.

    Raises:
        argparse.ArgumentTypeError: If it is no call of one of the kinds, with literal arguments.
    """
    try:
        return _value(ast.parse(text.strip(), mode="eval").body, kinds)
    except RewardClientError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        names = ", ".join(f"{kind}(…)" for kind in kinds)
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise argparse.ArgumentTypeError(
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
