"""The parts of a conversation that a chat template may leave out of the prompt. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from reward_client._base.samples import Conversation, Message
from reward_client._base.wording import shorten

_KEYS = ("reasoning", "reasoning_content", "tool_calls")
_SHOWN_CHARACTERS = 40


class Omission(NamedTuple):
    """A conversation without one of its parts.

    Attributes:
        part: The name of the part.
        form: Equal for conversations whose template treats the part alike.
        rest: The conversation without the part.
        is_content: False for a name, which labels a turn: most templates leave it out, and the
            conversation means the same without it.
    """

    part: str
    form: tuple[str, object]
    rest: Conversation
    is_content: bool = True


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
    # Some templates show the names of tools alone.
    for role in sorted({str(message["role"]) for message in messages if message.get("name")}):
        rest = [_without(each, "name") if each["role"] == role else each for each in messages]
        part = f"name of messages of the role {shorten(role, _SHOWN_CHARACTERS)}"
        shorter = replace(conversation, messages=rest)
        yield Omission(part, ("name", role), shorter, is_content=False)


def _without(message: Message, key: str) -> Message:
    rest = {each: value for each, value in message.items() if each != key}
    return rest if rest.get("content") else {**rest, "content": ""}
