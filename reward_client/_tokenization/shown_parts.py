"""The parts of a conversation that a chat template may leave out of the prompt. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from reward_client._base.samples import Conversation, Message
from reward_client._base.wording import shorten
from reward_client._protocols.engines import ENGINES

# Names label turns, and IDs link the results of tools with calls: most templates leave both out,
# and the conversation means the same without them.
_NAME = "name"
_LABELS = frozenset({_NAME, "tool_call_id"})
_KEYS = {key for engine in ENGINES.values() for key in engine.message_keys(None)}
_CONTENTS = (*sorted(_KEYS - _LABELS), "reasoning_content")
_SHOWN_CHARACTERS = 40

Form: TypeAlias = tuple[str, str, bool]
"""The kind of a part, where it stands, and one more difference."""


class Omission(NamedTuple):
    """A conversation without one of its parts.

    Attributes:
        part: The name of the part.
        form: Equal for conversations whose template treats the part alike.
        rests: The conversation without the part, then with another value in its place, which shows
            a part whose value is the template's default.
        is_content: False for a name, or an argument that is a number or a boolean: the conversation
            means the same without it.
    """

    part: str
    form: Form
    rests: tuple[Conversation, ...]
    is_content: bool = True


def omissions(conversation: Conversation, known: Collection[Form]) -> Iterator[Omission]:
    """Yield the conversation without each part that no content holds.

    Args:
        conversation: The conversation.
        known: The forms to pass over.
    """
    messages = conversation.messages
    if conversation.tools and (form := ("tools", "", False)) not in known:
        yield Omission("tools", form, (replace(conversation, tools=None),))
    if any(len(message) > 2 or "content" not in message for message in messages):
        # Some templates show the names of tools alone, or the reasoning of the last turn alone.
        for role in sorted({str(message["role"]) for message in messages}):
            for key in (*_CONTENTS, _NAME):
                is_last = key != _NAME and bool(messages[-1].get(key))
                if (form := (key, role, is_last)) not in known and any(
                    each.get(key) for each in messages if each["role"] == role
                ):
                    yield _without_key(conversation, form)
    for name, value in (conversation.chat_template_kwargs or {}).items():
        is_switch = isinstance(value, int | float)
        if (form := ("argument", name, is_switch)) not in known and (value or is_switch):
            yield _without_argument(conversation, form)


def _without_key(conversation: Conversation, form: Form) -> Omission:
    key, role, _ = form
    rest = [_without(each, key) if each["role"] == role else each for each in conversation.messages]
    is_content = key != _NAME
    part = key if is_content else f"name of messages of the role {shorten(role, _SHOWN_CHARACTERS)}"
    return Omission(part, form, (replace(conversation, messages=rest),), is_content)


def _without_argument(conversation: Conversation, form: Form) -> Omission:
    _, name, is_switch = form
    arguments = {**(conversation.chat_template_kwargs or {})}
    value = arguments.pop(name)
    choices = [arguments, *({**arguments, name: other} for other in _others(value))]
    return Omission(
        f"argument {shorten(name, _SHOWN_CHARACTERS)} in chat_template_kwargs",
        form,
        tuple(replace(conversation, chat_template_kwargs=each or None) for each in choices),
        is_content=not is_switch,
    )


def _others(value: object) -> Iterator[object]:
    """Yield another value of the same type. No template has a list or an object as its default."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield value + 1
    elif isinstance(value, str):
        yield 2 * value


def _without(message: Message, key: str) -> Message:
    rest = {each: value for each, value in message.items() if each != key}
    return rest if rest.get("content") else {**rest, "content": ""}
