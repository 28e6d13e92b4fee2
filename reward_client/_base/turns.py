"""The turns of a conversation: their roles, and their order, which ends with one answer. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from reward_client._base.roles import KNOWN_ROLES, usual_role
from reward_client._base.samples import Conversation, Message
from reward_client._base.wording import shorten
from reward_client.errors import InputError

_ANSWER = "assistant"
_NO_ANSWERS = KNOWN_ROLES - {_ANSWER}
_SHOWN_CHARACTERS = 40
_ALLOW = 'For a prefix or a base model, give on_unanswered="allow".'


def check_roles(messages: Sequence[Message], more: Collection[str] = ()) -> None:
    """Check that chat templates know the roles: most would show any word to the model.

    Args:
        messages: The turns.
        more: Further roles, which the model of the client knows.

    Raises:
        InputError: If they do not know one.
    """
    for position, message in enumerate(messages):
        role = message["role"]
        if role in KNOWN_ROLES or role in more:
            continue
        usual = usual_role(str(role))
        advice = f'"role": "{usual}"' if usual else 'a role such as "user" or "assistant"'
        raise InputError(
            f"Message {position} has the role {shorten(str(role), _SHOWN_CHARACTERS)!r}, and most "
            f"chat templates would show the model this unknown word. Write {advice}. For a model "
            "trained on this role, score FormattedText(text) or token IDs."
        )


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

    A method may know roles of its own, such as those of the two answers for a judge.
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
