"""The turns before the response: a prompt, a system message, earlier turns."""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._base.json_values import as_sequence
from reward_client._base.samples import Message
from reward_client._rows import names
from reward_client._rows.fields import Fields
from reward_client._rows.turns import are_equal, is_list_of_texts, json_value, text_of, turns_of
from reward_client.errors import InputError


def prompt_turns(fields: Fields) -> list[Message] | None:
    """Return the turns of a row's prompt, without its system message; None for no prompt.

    Raises:
        InputError: If the row has several prompts, or one of another form.
    """
    found = fields.present(names.PROMPT)
    if names.INSTRUCTION in fields:
        found = [name for name in found if name != names.INPUT]
        if found:
            raise _several(names.INSTRUCTION, found)
        return [*_earlier(fields), _user(_instruction(fields))]
    if len(found) > 1:
        raise _several(found[0], found[1:])
    if found:
        return _earlier(fields) + _turns(found[0], fields.take(found[0]))
    conversations = fields.present(names.CONVERSATION)
    if len(conversations) > 1:
        raise _several(conversations[0], conversations[1:])
    if conversations:
        return _turns(conversations[0], fields.take(conversations[0]))
    context = fields.filled(names.CONTEXT)
    if len(context) > 1:
        raise _several(context[0], context[1:])
    return _turns(context[0], fields.take(context[0])) if context else None


def with_system_message(fields: Fields, turns: Sequence[Message]) -> Sequence[Message]:
    """Put the row's system message before the turns, unless they begin with the same one.

    Raises:
        InputError: If the row has another system message than the turns.
    """
    system = _system_message(fields)
    if system is None or not turns:
        return turns
    first = turns[0]
    if first.get("role") not in ("system", "developer"):
        return [{"role": "system", "content": system}, *turns]
    if first.get("content") != system:
        raise InputError(
            "The messages begin with another system message than the row's system field. Write "
            "one of them."
        )
    return turns


def is_copy(fields: Fields, name: str, turns: Sequence[Message]) -> bool:
    """Return True if a field repeats the beginning of a conversation, or a user's turn of it."""
    value = fields.take(name)
    text = value if isinstance(value, str) else None
    if text is not None and any(turn == _user(text) for turn in turns):
        return True
    given = turns_of(value)
    return given is not None and are_equal(given, turns[: len(given)])


def _instruction(fields: Fields) -> str:
    instruction, below = fields.take(names.INSTRUCTION), fields.take(names.INPUT)
    if not isinstance(instruction, str) or not (below is None or isinstance(below, str)):
        raise InputError("Cannot read the prompt: instruction and input must be texts.")
    return f"{instruction}\n{below}" if below else instruction


def _earlier(fields: Fields) -> list[Message]:
    """Return the turns of `history`: messages, or pairs of a prompt and its response."""
    if "history" not in fields.filled(["history"]):
        return []
    value = json_value(fields.take("history"))
    if value == []:
        return []
    turns = turns_of(value)
    if turns is not None:
        return turns
    pairs = [as_sequence(pair) or () for pair in as_sequence(value) or ()]
    if not pairs or not all(len(pair) == 2 and all(map(_is_str, pair)) for pair in pairs):
        raise InputError(
            "Cannot read history beside a prompt: it must be messages, or pairs of texts."
        )
    return [
        {"role": role, "content": text}
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


def _turns(name: str, value: object) -> list[Message]:
    turns = turns_of(value)
    if turns is not None:
        return turns
    if is_list_of_texts(value):
        raise InputError(
            f"Cannot read {name}: it is a JSON list of texts, which may be one text or several "
            'turns. Write messages: [{"role": "user", "content": …}].'
        )
    text = text_of(value)
    if text is not None:
        return [_user(text)]
    raise InputError(f"Cannot read {name}: it must be a text or a list of messages.")


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _is_str(value: object) -> bool:
    return isinstance(value, str)


def _several(name: str, others: Sequence[str]) -> InputError:
    return InputError(
        f"Cannot tell the prompt of a row with {name} and {', '.join(others)}. Name the columns to "
        f'read, such as columns={{"prompt": "{name}", …}}.'
    )


def _system_message(fields: Fields) -> str | None:
    given = {name: fields.take(name) for name in fields.present(names.SYSTEM)}
    texts = [text for text in given.values() if text != ""]
    if not texts:
        return None
    text = texts[0]
    if not isinstance(text, str) or any(other != text for other in texts):
        raise InputError(f"{' and '.join(given)} must be one text: the system message.")
    return text
