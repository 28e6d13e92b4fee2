"""What a caller can have scored, and what is refused because it would give a wrong reward."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard, cast

from reward_client.errors import InputError
from reward_client.narrowing import as_json, as_mapping, as_sequence

__all__ = [
    "Conversation",
    "FormattedText",
    "Message",
    "Prompt",
    "Sample",
    "parse_sample",
    "refuse_single_sample",
    "responses_to",
]

Message: TypeAlias = Mapping[str, object]
"""One chat message: ``{"role": "user", "content": "…"}``, as in the OpenAI API."""

# A tokenizer's vocabulary is far below this; a larger value is a mistake, not a token.
_MAX_TOKEN_ID = 2**31 - 1

# Arguments of the template call that the client sets itself: a second, hidden way to set them
# would score another prompt than the one reported.
_RESERVED_TEMPLATE_ARGUMENTS = frozenset(
    {"add_generation_prompt", "chat_template", "continue_final_message", "messages", "tools"}
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation with what its chat template takes besides the messages.

    Attributes:
        messages: The turns, oldest first; text only.
        tools: Tool definitions as in the OpenAI API.
        chat_template_kwargs: Further arguments of the model's chat template.
        steps: The assistant's answer in steps, for a process reward model: it becomes the last
            turn, with the model's step token after each step.

    Raises:
        InputError: The messages are empty, malformed, or hold something other than text.
    """

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, object]] | None = None
    chat_template_kwargs: Mapping[str, object] | None = None
    steps: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check_messages(self.messages)
        if self.tools is not None:
            _check_json(self.tools, "tools")
        if self.chat_template_kwargs is not None:
            reserved = _RESERVED_TEMPLATE_ARGUMENTS & self.chat_template_kwargs.keys()
            if reserved:
                raise InputError(
                    f"chat_template_kwargs must not hold {sorted(reserved)}: "
                    "the client sets these itself."
                )
            _check_json(self.chat_template_kwargs, "chat_template_kwargs")
        if self.steps is not None:
            _check_steps(self.steps, self.messages[-1])


@dataclass(frozen=True, slots=True)
class FormattedText:
    """Text that has been through the model's chat template already (special tokens included).

    It is tokenized as it stands: no BOS is added, so it must hold one if the model needs one.
    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(cast("object", self.text), str) or not self.text:
            raise InputError(f"FormattedText needs a non-empty str, not {_describe(self.text)}.")


Sample: TypeAlias = Sequence[Message] | Conversation | FormattedText | Sequence[int]
"""Messages, a `Conversation`, `FormattedText`, or token IDs."""

Prompt: TypeAlias = Conversation | FormattedText | tuple[int, ...]


def parse_sample(sample: Sample) -> Prompt:
    """Decides what a sample is, and checks it.

    Raises:
        InputError: It is none of the kinds of `Sample`, or not a valid one.
    """
    given: object = sample
    if isinstance(given, Conversation | FormattedText):
        return given
    if isinstance(given, str):
        raise InputError(
            "A bare string is ambiguous, and the wrong reading gives a plausible, wrong reward. "
            'Write [{"role": "user", "content": …}, {"role": "assistant", "content": …}] for a '
            "conversation, or FormattedText(text) for text that has been through the chat template."
        )
    if isinstance(given, Mapping):
        raise InputError(
            "A single message is not a conversation: write a list of messages, such as "
            '[{"role": "user", "content": …}, {"role": "assistant", "content": …}].'
        )
    items = as_sequence(given)
    if items is None:
        raise InputError(
            "A sample is a list of messages, Conversation, FormattedText or a list of token IDs, "
            f"not {_describe(given)}{_list_hint(given)}."
        )
    if not items:
        raise InputError("An empty sample: neither messages nor token IDs.")
    if isinstance(items[0], int):
        return _token_ids(items)
    return Conversation(cast("Sequence[Message]", items))


def refuse_single_sample(samples: object) -> None:
    """Refuses one sample where many are expected.

    Raises:
        InputError: It is one conversation, one text, or one list of token IDs.
    """
    first = next(iter(as_sequence(samples) or ()), None)
    if isinstance(samples, str | bytes | Mapping | Conversation | FormattedText) or isinstance(
        first, Mapping | int
    ):
        raise InputError(
            "Many samples are expected here, and this is a single one: write [sample], "
            "or call score(sample)."
        )
    if not isinstance(samples, Iterable) and not hasattr(samples, "__aiter__"):
        raise InputError(f"An iterable of samples is expected, not {_describe(samples)}.")


def responses_to(
    prompt: str | Sequence[Message], responses: Sequence[str]
) -> tuple[Conversation, ...]:
    """One conversation for each response: the prompt's turns and the response as assistant turn.

    Raises:
        InputError: The prompt is no text or messages, or the responses are no list of texts.
    """
    if as_sequence(responses) is None:
        raise InputError("rank needs a list of responses: write rank(prompt, [response, …]).")
    if not responses:
        raise InputError("rank needs at least one response.")
    wrong = [index for index, text in enumerate(responses) if not _is_str(text)]
    if wrong:
        raise InputError(f"Responses must be str; those at {wrong[:10]} are not.")
    turns: Sequence[Message] = (
        [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    )
    _check_messages(turns)
    return tuple(
        Conversation([*turns, {"role": "assistant", "content": text}]) for text in responses
    )


def _token_ids(items: Sequence[object]) -> tuple[int, ...]:
    for position, token in enumerate(items):
        # bool is an int to Python; a negative ID kills the engine of vLLM 0.10 to 0.27.
        if type(token) is not int or not 0 <= token <= _MAX_TOKEN_ID:
            raise InputError(
                "Token IDs are integers from 0 up to the vocabulary's size; "
                f"position {position} holds {_describe(token)}{_list_hint(token)}."
            )
    return tuple(cast("Sequence[int]", items))


def _check_messages(messages: object) -> None:
    items = as_sequence(messages)
    if not items:
        raise InputError(
            f"Messages are a non-empty list of dicts with a role, not {_describe(messages)}."
        )
    for position, item in enumerate(items):
        message = as_mapping(item)
        if message is None:
            raise InputError(
                f"Message {position} is {_describe(item)}, not a dict with a role; "
                "for a pydantic object write message.model_dump(exclude_none=True)."
            )
        _check_message(position, message)


def _check_message(position: int, message: Message) -> None:
    if not _is_str(message.get("role")):
        raise InputError(f'Message {position} has no role: write {{"role": "user", …}}.')
    content = message.get("content")
    if _is_str(content) and len(message) == 2:
        return  # the common case needs no look at further keys
    parts = as_sequence(content)
    if parts is not None:
        kinds = {str((as_mapping(part) or {}).get("type")) for part in parts}
        if kinds - {"text"}:
            # /tokenize gives placeholder tokens for an image; the image itself would be lost.
            raise InputError(
                f"Message {position} holds parts other than text ({', '.join(sorted(kinds))}). "
                "A reward from token IDs would ignore them."
            )
    elif content is not None and not _is_str(content):
        raise InputError(f"The content of message {position} is {_describe(content)}, not text.")
    _check_json(message, f"message {position}")


def _check_steps(steps: object, last: Message) -> None:
    given = as_sequence(steps)
    if not given or not all(_is_str(step) and step for step in given):
        raise InputError("steps= must be a non-empty list of non-empty texts.")
    if last.get("role") == "assistant":
        raise InputError(
            "steps= becomes the assistant's turn: leave that turn out of the messages."
        )


def _check_json(value: object, name: str) -> None:
    try:
        json.dumps(value, allow_nan=False, default=as_json)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"The {name} cannot be written as JSON: {error}.") from error


def _is_str(value: object) -> TypeGuard[str]:
    return isinstance(value, str)


def _describe(value: object) -> str:
    """What a value is, without showing a prompt."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return f"a {type(value).__name__}"


def _list_hint(value: object) -> str:
    return " (write array.tolist())" if hasattr(value, "tolist") else ""
