"""Messages as a version of the server reads them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reward_client._base.advice import usual_key
from reward_client._base.samples import Message
from reward_client._base.wording import shorten
from reward_client._protocols.engine import MessageKey
from reward_client._protocols.vllm.versions import message_keys
from reward_client.errors import InputError

_READ = frozenset({"role", "content"})
_REASONING = ("reasoning", "reasoning_content")
_EMPTY: tuple[object, ...] = ("", [], {})
"""Values that nobody misses. OpenAI's own objects have such, as ``"annotations": []``."""
_SHOWN_CHARACTERS = 40


def readable(messages: Sequence[Message], version: str | None) -> list[Message]:
    """Return messages with the names of keys that a version reads.

    Args:
        messages: The messages.
        version: The server's vLLM version; None if it is unknown.

    Raises:
        InputError: If a message has a key that this version would silently ignore.
    """
    return [
        message if message.keys() <= _READ else _with_read_keys(position, message, version)
        for position, message in enumerate(messages)
    ]


def _with_read_keys(position: int, message: Message, version: str | None) -> Message:
    read = message_keys(version)
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
            raise InputError(_unread(position, key, version, read))
        raise InputError(
            f"Message {position} has the key {key!r}, which the server reads in messages of the "
            f"role {known.roles[0]} and ignores in this one. Leave it out, or correct the role."
        )
    return {key: value for key, value in message.items() if key not in empty} if empty else message


def _unread(position: int, key: str, version: str | None, read: Mapping[str, MessageKey]) -> str:
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
        f"{f'vLLM {version}' if version else 'the server'} ignores. {advice}"
    )
