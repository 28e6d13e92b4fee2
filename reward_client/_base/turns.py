"""The order of the turns of a conversation: it ends with one answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._base.roles import USUAL_ROLES
from reward_client._base.samples import Conversation, Message
from reward_client.errors import InputError

_ANSWER = "assistant"
_NO_ANSWERS = USUAL_ROLES - {_ANSWER}
_ALLOW = 'For a prefix or a base model, give on_unanswered="allow".'


def check_order(messages: Sequence[Message]) -> None:
    """Check that no answer follows an answer.

    Raises:
        InputError: If one does.
    """
    previous: object = None
    for position, message in enumerate(messages):
        role = message["role"]
        if role == previous == _ANSWER:
            raise InputError(
                f"Message {position} is an answer that follows an answer. Leave one of them out, "
                f"or join them. {_ALLOW}"
            )
        previous = role


def lacks_answer(conversation: Conversation) -> bool:
    """Return True if a conversation does not end with an answer.

    A template may know roles of its own, such as those of the two answers for a judge.
    """
    return conversation.steps is None and conversation.messages[-1]["role"] in _NO_ANSWERS


def no_answer(conversation: Conversation) -> InputError:
    """Build the error for a conversation that does not end with an answer."""
    role = conversation.messages[-1]["role"]
    return InputError(
        f"The conversation has no answer to score: its last message has the role {role!r}. "
        f'End it with {{"role": "assistant", "content": …}}. {_ALLOW}'
    )


def check_prompt_of_rank(turns: Sequence[Message]) -> None:
    """Check that responses to a prompt would not follow an answer.

    Raises:
        InputError: If the prompt ends with an answer.
    """
    if turns[-1]["role"] == _ANSWER:
        raise InputError(
            "The prompt of rank() ends with an answer, and each response would follow it as a "
            f"second one. Leave the last message out of the prompt. {_ALLOW}"
        )
