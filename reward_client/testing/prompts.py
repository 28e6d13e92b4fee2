"""From the content of a body to token IDs, as one vLLM version makes and checks them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reward_client.testing import forms, pooled_forms
from reward_client.testing.refusals import Refusal, refused_parameter, refused_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reward_client.testing.serving import Serving


class BrokenReply(Exception):
    """What vLLM answers with a bare 500."""


class TemplateRefusal(Refusal):
    """A conversation that the chat template does not take."""


def chat_ids(
    serving: Serving,
    messages: Sequence[forms.Message],
    options: forms.ChatOptions,
    *,
    opens_turn: bool,
) -> list[int]:
    """The token IDs of a conversation.

    Raises:
        Refusal: It cannot be rendered.
    """
    dialect, tokenizer = serving.dialect, serving.judge.tokenizer
    if not messages:
        raise TemplateRefusal(dialect.no_messages)
    if options.chat_template is not None and not dialect.takes_template:
        raise Refusal(
            "Chat template is passed with request, but --trust-request-chat-template is not set. "
            "Refused request with untrusted chat template."
        )
    if any(map(_holds_more_than_text, messages)):
        raise Refusal(f"{serving.model_name} is not a multimodal model")  # seen on 0.32.0
    if options.continue_final_message and opens_turn:
        raise TemplateRefusal(dialect.continue_conflict)
    try:
        text = tokenizer.render(
            [message.model_dump() for message in messages],
            add_generation_prompt=opens_turn,
            continue_final_message=options.continue_final_message,
            tools=options.tools,
            template=options.chat_template,
            variables=options.chat_template_kwargs,
        )
    except ValueError as error:
        raise TemplateRefusal(str(error)) from error
    return tokenizer.encode(text, add_special_tokens=options.add_special_tokens)


def _holds_more_than_text(message: forms.Message) -> bool:
    content = message.content
    return isinstance(content, list) and any(part.get("type") != "text" for part in content)


def prompts(serving: Serving, form: pooled_forms.Pooled, path: str) -> list[list[int]]:
    """The token IDs of every prompt of a request, truncated and checked.

    Raises:
        Refusal: A prompt is not taken.
        BrokenReply: It breaks the server.
    """
    read = _content_ids(serving, form, path)
    truncated = [_truncated(serving, prompt, form) for prompt in read]
    if form.asked_length == 0 and serving.dialect.drops_truncated:
        return []
    for prompt in truncated:
        _check(serving, prompt, path)
    return truncated


def _content_ids(serving: Serving, form: pooled_forms.Pooled, path: str) -> list[list[int]]:
    if isinstance(form, forms.Chat):
        return [_closed_chat_ids(serving, form.messages, form, path)]
    if isinstance(form, pooled_forms.ChatBatch):
        return [_closed_chat_ids(serving, messages, form, path) for messages in form.messages]
    if isinstance(form, pooled_forms.Input):
        return _input_ids(serving, form.input, path, special=form.add_special_tokens)
    if isinstance(form, pooled_forms.Text):
        return _input_ids(serving, form.input, path, special=form.add_special_tokens)
    if isinstance(form, pooled_forms.BareText):
        return _input_ids(serving, form.input, path, special=True)
    raise refused_parameter(
        "No IOProcessor plugin installed. Please refer to the documentation and to the "
        "'prithvi_geospatial_mae_io_processor' offline inference example for more details.",
        "task",
        serving.dialect,
    )


def _closed_chat_ids(
    serving: Serving, messages: Sequence[forms.Message], options: forms.ChatOptions, path: str
) -> list[int]:
    """As on the pooled routes, where an assistant turn is opened only if that is asked for."""
    opens_turn = options.add_generation_prompt and path in serving.dialect.opens_turns
    return chat_ids(serving, messages, options, opens_turn=opens_turn)


def _input_ids(
    serving: Serving,
    given: list[int] | list[list[int]] | str | list[str],
    path: str,
    *,
    special: bool,
) -> list[list[int]]:
    dialect, tokenizer = serving.dialect, serving.judge.tokenizer
    if given == "" and path == "/classify" and dialect.no_text is not None:
        raise Refusal(dialect.no_text)
    if isinstance(given, str):
        given = [given]
    if not given or (dialect.empty_batch_is_no_prompt and given == [[]]):
        refusal = dialect.no_prompt[path]
        if refusal is None:
            return []
        raise Refusal(refusal)
    read: list[list[int]] = []
    token_ids: list[int] = []
    for item in given:
        if isinstance(item, int):
            token_ids.append(item)
        elif isinstance(item, str):
            read.append(tokenizer.encode(item, add_special_tokens=special))
        else:
            read.append(item)
    return [token_ids] if token_ids else read


def completed(
    serving: Serving,
    given: list[int] | list[list[int]] | str | list[str],
    path: str,
    max_tokens: int,
) -> list[list[int]]:
    """The token IDs of every prompt that tokens are generated for.

    Raises:
        Refusal: A prompt is not taken, or there is no room for the tokens behind it.
        BrokenReply: A prompt breaks the server.
    """
    read = _input_ids(serving, given, path, special=True)
    is_text = isinstance(given, str) or any(isinstance(each, str) for each in given)
    for prompt in read:
        _check_room(serving, len(prompt), max_tokens, is_text=is_text)
    for prompt in read:
        check_ids(serving, prompt, path)
    return read


def _check_room(serving: Serving, tokens: int, max_tokens: int, *, is_text: bool) -> None:
    dialect, limit = serving.dialect, serving.max_model_len
    generation = dialect.generation
    if generation.too_many_tokens and max_tokens > limit:
        message = generation.too_many_tokens.format(tokens=max_tokens, limit=limit)
        raise refused_value(message, "max_tokens", max_tokens, dialect)
    room = limit if generation.shortens else limit - max_tokens
    if tokens > room:
        # A text is only read as far as is needed to know that it is too long.
        counted = min(tokens, room + 1) if is_text and not dialect.counts_overlong else tokens
        message = generation.too_long.format(
            limit=limit,
            room=room,
            tokens=counted,
            max_tokens=max_tokens,
            total=counted + max_tokens,
            at_least="at least " if counted == room + 1 else "",
        )
        raise Refusal(message, parameter=dialect.too_long_parameter)
    if tokens == limit:
        raise refused_value("max_tokens must be at least 1, got 0.", "max_tokens", 0, dialect)


def _truncated(serving: Serving, prompt: list[int], form: pooled_forms.Pooled) -> list[int]:
    keep = form.asked_length
    if keep is None:
        return prompt
    keep = serving.max_model_len if keep == -1 else keep
    side = form.asked_side
    keeps_last = side == "left" if side else serving.dialect.truncation_keeps == "last"
    return prompt[max(0, len(prompt) - keep) :] if keeps_last else prompt[:keep]


def _check(serving: Serving, prompt: Sequence[int], path: str) -> None:
    dialect = serving.dialect
    if len(prompt) > serving.max_model_len:
        counted = len(prompt) if dialect.counts_overlong else serving.max_model_len + 1
        raise Refusal(
            dialect.too_long.format(limit=serving.max_model_len, tokens=counted),
            parameter=dialect.too_long_parameter,
        )
    check_ids(serving, prompt, path)


def check_ids(serving: Serving, prompt: Sequence[int], path: str) -> None:
    """Refuses a prompt without tokens, or with one that there is not.

    Raises:
        Refusal: It is refused.
        BrokenReply: It breaks the server.
    """
    dialect = serving.dialect
    if not prompt:
        raise Refusal("The decoder prompt cannot be empty")
    limit = serving.judge.vocabulary_size + dialect.vocabulary_slack
    unknown = next((token for token in prompt if token >= limit), None)
    if unknown is None and min(prompt) < 0:
        if path in dialect.engine_errors:
            dead = dialect.engine_errors[path]
            raise Refusal(dead.message, status=dead.status, code=dead.code, kind=dead.kind)
        if not dialect.refuses_negative:
            raise BrokenReply
        unknown = min(prompt)
    if unknown is not None:
        raise Refusal(f"Token id {unknown} is out of vocabulary")


def check_keys(serving: Serving, body: Mapping[str, Any], path: str) -> None:
    """Refuse keys and tasks of the past before the body is read closely.

    Raises:
        Refusal: The body has one.
    """
    dialect = serving.dialect
    for key, message in dialect.removed_keys.items():
        if key in body:
            raise refused_parameter(message, key, dialect)
    removed = dialect.removed_tasks.get(str(body.get("task"))) if path == "/pooling" else None
    if removed:
        raise refused_parameter(removed, "task", dialect)
    acts_as, dimensions = serving.acts_as(path), body.get("dimensions")
    if dimensions is None or acts_as not in dialect.no_dimensions:
        return
    refusal = dialect.no_dimensions[acts_as].format(model=serving.model_name, dimensions=dimensions)
    if acts_as == "/pooling":
        raise refused_parameter(refusal, "dimensions", dialect)
    raise Refusal(refusal)
