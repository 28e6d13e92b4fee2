"""Conversations that are too long: which turns may go. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from reward_client._base.samples import Conversation, Message

FitT = TypeVar("FitT")

_KEPT = ("system", "developer")


async def fit(
    conversation: Conversation, attempt: Callable[[Conversation], Awaitable[FitT | None]]
) -> FitT | None:
    """What comes of the conversation without as few of its oldest exchanges as must go.

    An exchange is a user's turn and what follows it up to the next one; system messages stay, and
    so does the last exchange.

    Args:
        conversation: One that is too long.
        attempt: What comes of a shorter one; None where that is too long, too.

    Returns:
        None where the last exchange alone is too long.
    """
    starts = _exchanges(conversation.messages)
    low, high = 1, len(starts)  # how many exchanges may have to go
    best: FitT | None = None
    while low < high:
        middle = (low + high) // 2
        fitting = await attempt(_without(conversation, starts[middle]))
        if fitting is None:
            low = middle + 1
        else:
            best, high = fitting, middle
    return best


def _exchanges(messages: Sequence[Message]) -> list[int]:
    """Where each exchange begins."""
    starts: list[int] = []
    previous: object = None
    for place, message in enumerate(messages):
        role = message.get("role")
        if role in _KEPT:
            continue
        if previous is None or (role == "user" and previous != "user"):
            starts.append(place)
        previous = role
    return starts


def _without(conversation: Conversation, start: int) -> Conversation:
    """The system messages, and all others from `start` on."""
    messages = conversation.messages
    kept = [message for message in messages[:start] if message.get("role") in _KEPT]
    return replace(conversation, messages=[*kept, *messages[start:]])
