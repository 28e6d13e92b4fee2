"""The parts of a conversation that a chat template may leave out of the prompt. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from reward_client._base.samples import Conversation, Message

_KEYS = ("reasoning", "reasoning_content", "tool_calls")


class Omission(NamedTuple):
    """A conversation without one of its parts.

    Attributes:
        part: The name of the part.
        form: Equal for conversations whose template treats the part alike.
        rest: The conversation without the part.
    """

    part: str
    form: tuple[str, bool]
    rest: Conversation


def omissions(conversation: Conversation) -> Iterator[Omission]:
    """Yield the conversation without each part that no content holds."""
    messages = conversation.messages
    if conversation.tools:
        yield Omission("tools", ("tools", True), replace(conversation, tools=None))
    for key in _KEYS:
        if any(message.get(key) for message in messages):
            # Some templates show the reasoning of the last turn alone.
            form = (key, bool(messages[-1].get(key)))
            rest = [_without(message, key) for message in messages]
            yield Omission(key, form, replace(conversation, messages=rest))


def _without(message: Message, key: str) -> Message:
    rest = {each: value for each, value in message.items() if each != key}
    return rest if "content" in rest else {**rest, "content": ""}
