"""Rows for a judge that compares two responses: each is one contest. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from reward_client._base.contest import Contest
from reward_client._base.samples import Conversation, Message
from reward_client._rows.forms import ReadRow
from reward_client.errors import InputError
from reward_client.methods.verdict import text_of


def as_contest(read: ReadRow) -> ReadRow:
    """Return a row whose responses are compared with each other, as one sample.

    Raises:
        InputError: If a judge cannot compare them.
    """
    refuse_single(read)
    conversations = tuple(cast("Conversation", sample) for sample in read.samples)
    for conversation in conversations:
        _check(conversation)
    if any(_prompt(each) != _prompt(conversations[0]) for each in conversations[1:]):
        raise InputError(
            "Cannot compare the responses of this row: they follow different prompts. Write one "
            "prompt, and responses of one turn each."
        )
    return replace(read, samples=(Contest.of(conversations),))


def refuse_single(read: ReadRow) -> None:
    """Refuse a row with a single response.

    Raises:
        InputError: If it is one.
    """
    if read.layout.samples < 2:
        raise InputError(
            f"Cannot score a row of the form {read.form} with a judge that compares two responses: "
            "it has a single one. Give rows with several responses, such as chosen and rejected, "
            "or a method that scores a single response."
        )


def _check(conversation: Conversation) -> None:
    if conversation.tools is not None:
        raise InputError("A judge is sent messages, and no tools: leave tools out.")
    if conversation.messages[-1]["role"] != "assistant":
        raise InputError("A judge compares answers of the assistant, and a last message is none.")
    text_of(conversation.messages[-1])


def _prompt(conversation: Conversation) -> list[Message]:
    return [*conversation.messages[:-1]]
