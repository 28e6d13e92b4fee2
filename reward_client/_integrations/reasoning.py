"""Reasoning within answers: blocks between tags, such as ``<think>`` and ``</think>``. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from reward_client._base.json_values import as_sequence
from reward_client._base.wording import describe_type
from reward_client.errors import InputError

_NAME = re.compile(r"[A-Za-z_][\w.:|-]*")


class Stripped(NamedTuple):
    """An answer without its reasoning.

    Attributes:
        answer: The answer.
        characters: The number of characters of reasoning, the tags included.
    """

    answer: str
    characters: int


def checked_names(names: object) -> tuple[str, ...]:
    """Return the names of tags: one, several or none.

    Raises:
        InputError: If a name is invalid.
    """
    if names is None:
        return ()
    each = [names] if isinstance(names, str) else as_sequence(names)
    if each is None:
        raise InputError(
            f'strip_reasoning= must be the name of a tag, such as "think", not '
            f"{describe_type(names)}."
        )
    return tuple(map(_checked, each))


def _checked(name: object) -> str:
    if isinstance(name, str) and _NAME.fullmatch(name.strip()):
        return name.strip()
    shown = repr(name) if isinstance(name, str) else describe_type(name)
    raise InputError(
        'strip_reasoning= takes the names of tags without brackets, such as "think" for '
        f"<think>…</think>, not {shown}."
    )


def open_block(before: str, names: Sequence[str]) -> str | None:
    """Return the name of the block that a text before an answer has opened, if any.

    Chat templates of some reasoning models end their generation prompt with ``<think>``.
    """
    return next((name for name in names if before.rstrip().endswith(f"<{name}>")), None)


def closes_first(answer: str, names: Sequence[str]) -> str | None:
    """Return the name of the block that an answer closes before it opens one, if any."""
    tags = re.finditer(_tags(names), answer) if names else iter(())
    first = next(tags, None)
    return first[2] if first is not None and first[1] else None


def without_reasoning(answer: str, names: Sequence[str], opened: str | None) -> Stripped:
    """Return an answer without the blocks of reasoning in it.

    Args:
        answer: The answer.
        names: The names of the tags.
        opened: The name of the block that the answer begins in; None if it begins outside.

    Raises:
        InputError: If a block does not end, or ends twice.
    """
    if not names:
        return Stripped(answer, 0)
    outside: list[str] = []
    inside, position = opened or closes_first(answer, names), 0
    leads = inside is not None or re.match(rf"\s*{_tags(names)}", answer) is not None
    for tag in re.finditer(_tags(names), answer):
        closes, name = bool(tag[1]), tag[2]
        if inside is None:
            if closes:
                raise InputError(
                    f"Cannot strip the reasoning: </{name}> ends a block that has ended before. "
                    "Nothing tells the reasoning from the answer."
                )
            outside.append(answer[position : tag.start()])
            inside, position = name, tag.start()
        elif closes and name == inside:
            inside, position = None, tag.end()
    if inside is not None:
        raise InputError(
            f"Cannot strip the reasoning: <{inside}> does not end, so that there is no answer. "
            "Give the policy more tokens for an answer."
        )
    outside.append(answer[position:])
    kept = "".join(outside)
    # The line breaks between a block and the answer belong to neither.
    return Stripped(kept.lstrip() if leads else kept, len(answer) - len(kept))


def _tags(names: Sequence[str]) -> str:
    return f"<(/?)({'|'.join(map(re.escape, names))})>"
