"""Conversations that are too long: which turns may go. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from reward_client.samples import Conversation, Message

__all__ = ["fit"]


async def fit(
    conversation: Conversation, is_short_enough: Callable[[Conversation], Awaitable[bool]]
) -> Conversation | None:
    """The conversation without as few of its oldest exchanges as must go.

    An exchange is a user's turn and what follows it up to the next one; system messages stay, and
    so does the last exchange.

    Returns:
        None where the last exchange alone is too long.
    """
    starts = _exchanges(conversation.messages)
    low, high = 1, len(starts)  # how many exchanges may have to go
    best: Conversation | None = None
    while low < high:
        middle = (low + high) // 2
        shorter = _without(conversation, starts[middle])
        if await is_short_enough(shorter):
            best, high = shorter, middle
        else:
            low = middle + 1
    return best


def _exchanges(messages: Sequence[Message]) -> list[int]:
    """Where each exchange begins."""
    roles = [message.get("role") for message in messages]
    return [
        place
        for place, role in enumerate(roles)
        if place == 0 or (role == "user" and roles[place - 1] not in ("user", "system"))
    ]


def _without(conversation: Conversation, start: int) -> Conversation:
    """The system messages, and all others from `start` on."""
    messages = conversation.messages
    kept = [message for message in messages[:start] if message.get("role") == "system"]
    return replace(conversation, messages=[*kept, *messages[start:]])
