"""Truncation of conversations that are too long. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from reward_client._base.samples import Conversation, Message

FitT = TypeVar("FitT")

_KEPT_ROLES = ("system", "developer")


async def fit(
    conversation: Conversation, attempt: Callable[[Conversation], Awaitable[FitT | None]]
) -> FitT | None:
    """Drop the fewest of the oldest exchanges so that the conversation fits.

    An exchange is a user's turn with all turns up to the next user's turn. System messages and the
    last exchange stay.

    Args:
        conversation: A conversation that is too long.
        attempt: Returns the result for a shorter conversation; None if it is too long as well.

    Returns:
        The result of the longest conversation that fits; None if the last exchange alone is too
        long.
    """
    starts = _exchange_starts(conversation.messages)
    low, high = 1, len(starts)  # the number of exchanges to drop
    best: FitT | None = None
    while low < high:
        middle = (low + high) // 2
        fitting = await attempt(_drop_before(conversation, starts[middle]))
        if fitting is None:
            low = middle + 1
        else:
            best, high = fitting, middle
    return best


def _exchange_starts(messages: Sequence[Message]) -> list[int]:
    """Return the index of each exchange's first message."""
    starts: list[int] = []
    previous: object = None
    for index, message in enumerate(messages):
        role = message.get("role")
        if role in _KEPT_ROLES:
            continue
        if previous is None or (role == "user" and previous != "user"):
            starts.append(index)
        previous = role
    return starts


def _drop_before(conversation: Conversation, start: int) -> Conversation:
    """Return the conversation without the messages before `start`, except system messages."""
    messages = conversation.messages
    kept = [message for message in messages[:start] if message.get("role") in _KEPT_ROLES]
    return replace(conversation, messages=[*kept, *messages[start:]])
