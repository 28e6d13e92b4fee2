"""The order of the turns of a conversation: it ends with one answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from reward_client._base.roles import USUAL_ROLES
from reward_client._base.samples import Conversation, Message, Prompt
from reward_client.errors import InputError

_ANSWER = "assistant"
_NO_ANSWERS = USUAL_ROLES - {_ANSWER}
_ALLOW = 'For a prefix or a base model, give on_unanswered="allow".'


def check_turns(prompt: Prompt, *, is_answered: bool) -> None:
    """Check that a conversation ends with one answer. Text and token IDs have no turns.

    Args:
        prompt: The prompt.
        is_answered: False if the model answers after the conversation.

    Raises:
        InputError: If an answer is missing at the end, or follows another answer.
    """
    if not isinstance(prompt, Conversation):
        return
    previous: object = None
    for position, message in enumerate(prompt.messages):
        role = message["role"]
        if role == previous == _ANSWER:
            raise InputError(
                f"Message {position} is an answer that follows an answer. Leave one of them out, "
                f"or join them. {_ALLOW}"
            )
        previous = role
    # A template may know roles of its own, such as those of the two answers for a judge.
    if is_answered and previous in _NO_ANSWERS and prompt.steps is None:
        raise InputError(
            f"The conversation has no answer to score: its last message has the role {previous!r}. "
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
