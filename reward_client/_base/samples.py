"""Samples: their kinds, and the checks against input that would give a wrong reward."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import chain
from types import MappingProxyType
from typing import ParamSpec, TypeAlias, TypeGuard, TypeVar, cast

from reward_client._base.advice import (
    CONVERSATION,
    MANY,
    depth,
    first,
    in_place_of_dict,
    in_place_of_message,
    in_place_of_rows,
    in_place_of_table,
    usual_key,
)
from reward_client._base.arrays import Array, to_builtin
from reward_client._base.json_values import (
    NotJsonError,
    as_list,
    as_mapping,
    as_sequence,
    is_list,
    is_text,
    listed,
    to_json_value,
)
from reward_client._base.roles import USUAL_ROLES
from reward_client._base.token_ids import MAX_TOKEN_ID, TokenIds, checked
from reward_client._base.wording import describe_type, shorten
from reward_client.errors import InputError

Message: TypeAlias = Mapping[str, object]
"""One chat message: ``{"role": "user", "content": "…"}``, as in the OpenAI API."""

P = ParamSpec("P")
T = TypeVar("T")

_SHOWN_BITS = 128
_SHOWN_CHARACTERS = 40
_KEYS = ("role", "content")

# The key that holds the content of a part, by its type, in the function
# `_parse_chat_message_content_mm_part` of vLLM 0.6.3.post1 to 0.33.0. Many versions skip a part
# whose content is null.
_TEXT_PARTS = ("text", "refusal", "thinking")
_CONTENT_KEYS: Mapping[str, str] = MappingProxyType(
    {
        **{kind: kind for kind in (*_TEXT_PARTS, "image_url", "audio_url", "video_url")},
        **{kind: kind for kind in ("input_audio", "image_embeds", "audio_embeds", "video_embeds")},
        "prompt_embeds": "data",
        "tool_reference": "name",
    }
)
# vLLM reads these as the usual ones, from 0.10.0 and 0.12.0 on; earlier versions refuse them.
_USUAL_PARTS: Mapping[str, str] = MappingProxyType(
    {
        "input_text": '{"type": "text", "text": …}',
        "output_text": '{"type": "text", "text": …}',
        "input_image": '{"type": "image_url", "image_url": {"url": …}}',
    }
)

_CALLS = '"tool_calls": [{"type": "function", "function": {"name": …, "arguments": …}}]'

# The client sets these arguments of the template itself. A second way to set them would score
# another prompt than the one it reports.
_RESERVED_TEMPLATE_ARGUMENTS = frozenset(
    {"add_generation_prompt", "chat_template", "continue_final_message", "messages", "tools"}
)


def _guarded(read: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function that runs methods of a caller's objects: their errors become `InputError`."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return read(*args, **kwargs)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"Cannot read the input: its own methods raised {describe_type(error)}."
            ) from error

    return reading


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation, with the other arguments of its chat template.

    The object holds copies of its arguments.

    Attributes:
        messages: The turns, oldest first, as in the OpenAI API. Parts other than text (images)
            need ``method=Messages()``.
        tools: The tool definitions, as in the OpenAI API.
        chat_template_kwargs: Further arguments of the model's chat template.
        steps: The assistant's response in steps, for a process reward model. It becomes the last
            turn, with the model's step token after each step.

    Raises:
        InputError: If the messages are empty or malformed.
    """

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, object]] | None = None
    chat_template_kwargs: Mapping[str, object] | None = None
    steps: Sequence[str] | None = None

    @_guarded
    def __post_init__(self) -> None:
        copies: dict[str, object] = {
            "messages": _messages(self.messages),
            "tools": _tools(self.tools),
            "chat_template_kwargs": _template_arguments(self.chat_template_kwargs),
            "steps": _steps(self.steps),
        }
        for name, copy in copies.items():
            object.__setattr__(self, name, copy)
        if self.steps is not None and self.messages[-1]["role"] == "assistant":
            raise InputError(
                "Cannot take steps= after an assistant's turn: steps= becomes that turn. Leave the "
                "turn out of the messages."
            )

    def other_parts(self) -> tuple[str, ...]:
        """Return the types of parts other than text, each once."""
        contents = (message.get("content") for message in self.messages)
        parts = chain.from_iterable(
            as_sequence(content) or () for content in contents if not isinstance(content, str)
        )
        types = {str((as_mapping(part) or {}).get("type")) for part in parts}
        return tuple(sorted(types - {"text"}))


@dataclass(frozen=True, slots=True)
class FormattedText:
    """Text after the model's chat template, special tokens included.

    The tokenizer adds nothing to it. If the model needs a BOS token, the text must hold one.

    Attributes:
        text: The text.

    Raises:
        InputError: If the text is empty or no str.
    """

    text: str

    @_guarded
    def __post_init__(self) -> None:
        text = _json(self.text, "text") if _is_str(self.text) else None
        if not text:
            raise InputError(f"FormattedText needs a non-empty str, not {_describe(self.text)}.")
        object.__setattr__(self, "text", text)


@dataclass(frozen=True, slots=True)
class OpenedText(FormattedText):
    """Text after the chat template, from whose start the BOS token may have been removed.

    verl removes it, since older versions of vLLM add one. The client puts it back.
    """


Sample: TypeAlias = Sequence[Message] | Conversation | FormattedText | Sequence[int] | Array
"""Messages, a `Conversation`, `FormattedText`, or token IDs. Messages and IDs may be an array."""

Prompt: TypeAlias = Conversation | FormattedText | TokenIds
Parsed: TypeAlias = Prompt | InputError
"""A checked sample, or its error."""
Given: TypeAlias = Sample | InputError
"""A sample, or its error if it was checked as it was read."""


def hold_each(samples: Iterable[Sample]) -> Iterable[Given]:
    """Return samples that stay as they are when their iterator goes on.

    An iterator may yield one list again and again, with other contents. Its samples are checked as
    they are read. A list of samples is left as it is: its samples are checked among other work.
    """
    return samples if type(samples) in (list, tuple) else map(parse, samples)


def parse(sample: Given) -> Parsed:
    """Check a sample; return it as a prompt, or its error. What it returned, it returns again."""
    try:
        return sample if isinstance(sample, InputError) else parse_sample(sample)
    except InputError as error:
        return error


@_guarded
def parse_sample(sample: Sample) -> Prompt:
    """Check a sample and return it as a prompt of its kind.

    Raises:
        InputError: If the sample is of no kind of `Sample`, or invalid.
    """
    given: object = sample
    items: tuple[object, ...]
    if is_list(given):
        items = tuple(given)
    elif issubclass(type(given), Conversation | FormattedText | TokenIds):  # as isinstance, which
        return cast("Prompt", given)  # believes __class__
    else:
        items = _items(given)
    if not items:
        raise InputError("Cannot score an empty sample: it holds neither messages nor token IDs.")
    start = items[0]
    if isinstance(start, int) or (
        type(start) is not dict and isinstance(to_builtin(start), int | float)
    ):
        return _token_ids(items)
    return Conversation(cast("Sequence[Message]", items))


def is_token_ids(sample: Given) -> bool:
    """Return True if a sample looks like token IDs; `parse_sample` checks that it is."""
    if isinstance(sample, list | tuple):
        return bool(sample) and isinstance(sample[0], int)
    return isinstance(sample, TokenIds)


@_guarded
def parse_token_ids(given: object) -> TokenIds:
    """Check a list of token IDs.

    Raises:
        InputError: If it is no list of token IDs, or empty.
    """
    items = listed(given)
    if not items:
        raise InputError(f"A non-empty list of token IDs is expected, not {_describe(given)}.")
    return _token_ids(items)


def _items(given: object) -> tuple[object, ...]:
    """Return the items of a sequence that is no list."""
    if isinstance(given, str):
        raise InputError(
            "Cannot score a bare string: its wrong reading would give a plausible, wrong reward. "
            'Write [{"role": "user", "content": …}, {"role": "assistant", "content": …}] for a '
            "conversation, or FormattedText(text) for text after the chat template."
        )
    mapping = as_mapping(given)
    if mapping is not None:
        raise InputError(in_place_of_dict(mapping, 1, "sample"))
    table = in_place_of_table(given)
    if table is not None:
        raise InputError(table)
    items = listed(given)
    if items is None:
        raise InputError(
            "A sample is a list of messages, a Conversation, a FormattedText or a list of token "
            f"IDs, not {_describe(given)}."
        )
    return tuple(items)


@_guarded
def refuse_single_sample(samples: object) -> None:
    """Refuse a single sample in the place of many.

    Raises:
        InputError: If the argument is one conversation, one text or one list of token IDs, a
            table, or rows of a table.
    """
    table = in_place_of_table(samples)
    if table is not None:
        raise InputError(table)
    mapping, start = as_mapping(samples), to_builtin(first(samples))
    row = as_mapping(start)
    if mapping is not None and "role" not in mapping:
        raise InputError(in_place_of_dict(mapping, 2, "samples"))
    if row and "role" not in row:
        raise InputError(in_place_of_rows(row))
    if (
        isinstance(samples, str | bytes | Mapping | Conversation | FormattedText)
        or depth(start) == 0
    ):
        raise InputError(
            "Many samples are expected, but this is a single one. Write [sample], or call "
            "score(sample)."
        )
    if not isinstance(samples, Iterable) and not hasattr(samples, "__aiter__"):
        raise InputError(f"An iterable of samples is expected, not {_describe(samples)}.")


@_guarded
def response_texts(responses: object) -> tuple[str, ...]:
    """Return the responses to a prompt, which may be a column of another library.

    Raises:
        InputError: If they are no list of texts, or an empty one.
    """
    texts = listed(responses)
    if texts is None:
        raise InputError("rank() needs a list of responses. Write rank(prompt, [response, …]).")
    if not texts:
        raise InputError("rank() needs at least one response.")
    wrong = [index for index, text in enumerate(texts) if not _is_str(text)]
    if wrong:
        raise InputError(
            f"Responses must be str. Those at {wrong[:10]} are not. Write "
            'the texts, such as message["content"].'
        )
    return tuple(cast("list[str]", texts))


@_guarded
def responses_to(
    prompt: str | Sequence[Message], responses: Sequence[str]
) -> tuple[Conversation, ...]:
    """Return one conversation for each response, with the response as the assistant's turn.

    Raises:
        InputError: If the prompt is neither text nor messages, or a text is unfit for JSON.
    """
    turns = _messages([{"role": "user", "content": prompt}] if _is_str(prompt) else prompt)
    return tuple(
        Conversation([*turns, {"role": "assistant", "content": text}]) for text in responses
    )


def _token_ids(items: Sequence[object]) -> TokenIds:
    ids = checked(items)
    if ids is None:
        items = [to_builtin(item) for item in items]
        ids = checked(items)
    if ids is not None:
        return ids
    position, token = next(
        (position, token)
        for position, token in enumerate(items)
        if type(token) is not int or not 0 <= token <= MAX_TOKEN_ID
    )
    raise InputError(
        "Token IDs are integers from 0 up to the size of the vocabulary. "
        f"Position {position} holds {_describe(token)}. Write integers, or for a conversation "
        f"{CONVERSATION}."
    )


def _messages(given: object) -> list[Message]:
    items = listed(given)
    if not items:
        raise InputError(
            f"Messages are a non-empty list of dicts with a role, not {_describe(given)}."
        )
    return [_message(position, item) for position, item in enumerate(items)]


def _message(position: int, item: object) -> Message:
    given = as_mapping(item)
    if given is None:
        raise InputError(
            f"Message {position} is {_describe(item)}, not a dict with a role. {_in_place_of(item)}"
        )
    if type(item) is dict and len(given) == 2:
        role, content = given.get("role"), given.get("content")
        if type(role) is str and role in USUAL_ROLES and is_text(content):
            return dict(given)
    written = cast("Message", _json(given, f"message {position}"))
    # `datasets` writes None for every key that only other messages have.
    message = {key: value for key, value in written.items() if value is not None}
    role = message.get("role")
    if role is not None and not _is_str(role):
        raise InputError(
            f"The role of message {position} is {_describe(role)}, not text. Write "
            '"role": "user" or "role": "assistant".'
        )
    if role is None:
        raise InputError(_missing(position, message, "role", '{"role": "user", …}'))
    content = message.get("content")
    parts = as_sequence(content)
    if "tool_calls" in message:
        _check_tool_calls(position, message["tool_calls"])
    if content is None or (parts is not None and not parts):
        if not message.get("tool_calls"):
            empty = '"content": "" for an empty message'
            raise InputError(_missing(position, message, "content", empty))
    elif parts is not None:
        _check_parts(position, parts)
    elif not _is_str(content):
        raise InputError(f"The content of message {position} is {_describe(content)}, not text.")
    return message


def _missing(position: int, message: Message, key: str, example: str) -> str:
    """Return the error for a message without a key, with the key that stands for it, if any."""
    others = {usual_key(each, _KEYS): each for each in message if each not in _KEYS}
    advice = f"Write {example}."
    if key in others:
        advice = f'Write "{key}" in place of "{shorten(others[key], _SHOWN_CHARACTERS)}".'
    elif key == "content" and "tool_calls" in others:
        advice = f'Write {_CALLS} in place of "{shorten(others["tool_calls"], _SHOWN_CHARACTERS)}".'
    return f"Message {position} has no {key}. {advice}"


def _in_place_of(item: object) -> str:
    if isinstance(item, Conversation | FormattedText):
        return MANY
    return in_place_of_message(item)


def _check_parts(position: int, parts: Sequence[object]) -> None:
    fields = [as_mapping(part) or {} for part in parts]
    if not all(_is_str(part.get("type")) for part in fields):
        raise InputError(
            f'A part of message {position} has no type. Write {{"type": "text", "text": …}}.'
        )
    for part in fields:
        kind = str(part["type"])
        shown = shorten(kind, _SHOWN_CHARACTERS)
        if kind in _USUAL_PARTS:
            raise InputError(
                f"A part of message {position} has the type {shown}, which many servers do not "
                f"know. Write {_USUAL_PARTS[kind]}."
            )
        key = _CONTENT_KEYS.get(kind, kind)
        held = part.get(key)
        lacks = held is None and part.get("uuid") is None  # a server may know the content by it
        if kind in _CONTENT_KEYS and (not _is_str(held) if kind in _TEXT_PARTS else lacks):
            raise InputError(
                f"A part of message {position} has no {key}. "
                f'Write {{"type": "{kind}", "{key}": …}}.'
            )
        given = {each for each, value in part.items() if value is not None}
        ignored = given - {"type", "uuid", key}
        if ignored:
            raise InputError(
                f"A part of message {position}, of the type {shown}, has the key "
                f"{shorten(min(ignored), _SHOWN_CHARACTERS)!r}, which most servers ignore. Leave "
                f"it out, or write into {'text' if kind == 'text' else 'a text part'} what the "
                "model must see."
            )


def _check_tool_calls(position: int, given: object) -> None:
    """Refuse calls whose arguments are no JSON object: vLLM 0.32 replaces them by none."""
    calls = as_list(given)
    functions = [as_mapping((as_mapping(call) or {}).get("function")) for call in calls or ()]
    if calls is None or not all(f and _is_str(f.get("name")) for f in functions):
        raise InputError(
            f"The tool_calls of message {position} are no calls of functions. Write {_CALLS}."
        )
    for function in functions:
        arguments = function.get("arguments") if function else None
        if arguments and not isinstance(arguments, dict) and not _is_json_object(arguments):
            raise InputError(
                f"A tool call of message {position} has arguments that are no JSON object, and "
                "servers call the function without any. Write the call into content, as the model "
                "wrote it."
            )


def _is_json_object(text: object) -> bool:
    try:
        return isinstance(json.loads(text), dict) if isinstance(text, str) else False
    except ValueError:
        return False


def _tools(given: object) -> list[Mapping[str, object]] | None:
    if given is None:
        return None
    tools = as_list(_json(given, "tools"))
    if tools is None or not all(isinstance(tool, dict) for tool in tools):
        raise InputError("tools= must be a list of dicts, as in the OpenAI API.")
    return cast("list[Mapping[str, object]]", tools)


def _template_arguments(given: object) -> Mapping[str, object] | None:
    if given is None:
        return None
    arguments = as_mapping(_json(given, "chat_template_kwargs"))
    if arguments is None:
        raise InputError("chat_template_kwargs= must be a dict.")
    reserved = _RESERVED_TEMPLATE_ARGUMENTS & arguments.keys()
    if reserved:
        raise InputError(
            f"chat_template_kwargs= must not hold {sorted(reserved)}: the client sets these itself."
        )
    return arguments


def _steps(given: object) -> list[str] | None:
    if given is None:
        return None
    steps = as_list(_json(given, "steps"))
    if not steps or not all(_is_str(step) and step for step in steps):
        raise InputError("steps= must be a non-empty list of non-empty texts.")
    return cast("list[str]", steps)


def _json(value: object, name: str) -> object:
    """Return a copy that JSON can hold."""
    try:
        return to_json_value(value)
    except NotJsonError as error:
        raise InputError(f"Cannot write the {name} as JSON: {error}.") from error


def _is_str(value: object) -> TypeGuard[str]:
    return isinstance(value, str)


def _describe(value: object) -> str:
    """Describe a value without showing a prompt."""
    if value is None or value is True or value is False or type(value) is float:
        return repr(value)
    if value == "" if isinstance(value, str) else listed(value) == []:
        return f"an empty {describe_type(value).partition(' ')[2]}"
    if type(value) is int:
        return repr(value) if value.bit_length() <= _SHOWN_BITS else "a huge integer"
    return describe_type(value)
