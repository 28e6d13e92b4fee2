"""Errors as values of a column."""

from __future__ import annotations

from reward_client.errors import GenerationError, RewardClientError

PARTS = ("type", "message", "text")
"""The parts of an error. It has a text only if a model wrote it."""


def error_object(error: RewardClientError) -> dict[str, str]:
    """Return an error without the parts that vary between runs, such as the request ID."""
    text = {"text": error.text} if isinstance(error, GenerationError) else {}
    return {"type": type(error).__name__, "message": str(error.args[0]), **text}
