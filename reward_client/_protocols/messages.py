"""Messages as a server reads them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from reward_client._base.advice import usual_key
from reward_client._base.samples import Conversation, Message
from reward_client._base.wording import shorten
from reward_client._protocols.engine import MessageKey
from reward_client.errors import InputError

_READ = frozenset({"role", "content"})
_REASONING = ("reasoning", "reasoning_content")
_EMPTY: tuple[object, ...] = ("", [], {})
"""Values that nobody misses. OpenAI's own objects have such, as ``"annotations": []``."""
_SHOWN_CHARACTERS = 40


def readable(
    messages: Sequence[Message], read: Mapping[str, MessageKey], server: str
) -> list[Message]:
    """Return messages with the names of keys that a server reads.

    Args:
        messages: The messages.
        read: The keys that it reads, besides role and content.
        server: The engine and its version, for errors.

    Raises:
        InputError: If a message has a key that this version would silently ignore.
    """
    return [
        message if message.keys() <= _READ else _with_read_keys(position, message, read, server)
        for position, message in enumerate(messages)
    ]


def _with_read_keys(
    position: int, message: Message, read: Mapping[str, MessageKey], server: str
) -> Message:
    reasoning, other_name = _REASONING
    if other_name in message and reasoning in read:
        if message.get(reasoning, message[other_name]) != message[other_name]:
            raise InputError(
                f"Message {position} has {reasoning} and {other_name} of different texts, and the "
                "server reads one. Leave one of them out."
            )
        message = {key: value for key, value in message.items() if key != other_name} | {
            reasoning: message[other_name]
        }
    role, empty = message["role"], set[str]()
    for key in message.keys() - _READ:
        known = read.get(key)
        if known is not None and (known.roles is None or role in known.roles):
            continue
        if message[key] in _EMPTY:
            empty.add(key)
            continue
        if known is None or known.roles is None:
            raise InputError(_unread(position, key, server, read))
        raise InputError(
            f"Message {position} has the key {key!r}, which the server reads in messages of the "
            f"role {known.roles[0]} and ignores in this one. Leave it out, or correct the role."
        )
    return {key: value for key, value in message.items() if key not in empty} if empty else message


def _unread(position: int, key: str, server: str, read: Mapping[str, MessageKey]) -> str:
    usual = usual_key(key, {*_READ, *read, _REASONING[0]})
    if usual is None:
        advice = "Write into content what the model must see, and leave the key out."
    elif usual not in _READ and usual not in read:
        advice = (
            "Write it into content as the model writes it, such as <think>…</think>, or leave the "
            "key out."
        )
    else:
        advice = f"Write {usual!r} in its place, or leave it out."
    return (
        f"Message {position} has the key {shorten(key, _SHOWN_CHARACTERS)!r}, which "
        f"{server} ignores. {advice}"
    )


def chat_content(
    conversation: Conversation,
    read: Mapping[str, MessageKey],
    arguments: Collection[str],
    server: str,
    instead: str,
) -> dict[str, object]:
    """Return the part of a request for token IDs that holds a conversation.

    Args:
        conversation: The conversation.
        read: The keys of messages that the server reads, besides role and content.
        arguments: The keys beside the messages that it understands.
        server: The engine and its version, for errors.
        instead: What to do about parts other than text, as a sentence.

    Raises:
        InputError: If the conversation holds something that this server would silently ignore, or
            content that no token ID stands for.
    """
    others = conversation.other_parts()
    if others:
        # There are placeholder tokens for an image; the image itself would be lost.
        raise InputError(
            f"Cannot score parts other than text ({shorten(', '.join(others), 40)}) by token IDs, "
            f"which would ignore them. {instead}"
        )
    content: dict[str, object] = {"messages": readable(conversation.messages, read, server)}
    wanted: Mapping[str, object] = {
        "tools": conversation.tools,
        "chat_template_kwargs": conversation.chat_template_kwargs,
    }
    for key, value in wanted.items():
        if value is None:
            continue
        if key not in arguments:
            raise InputError(
                f"{server} ignores {key} in /tokenize and would score another "
                "conversation. Use a newer server, or FormattedText."
            )
        content[key] = value
    return content
