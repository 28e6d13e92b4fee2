"""Prompts: from a body's content to checked token IDs, as one vLLM version does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reward_client.testing._vllm import forms, pooling_forms
from reward_client.testing._vllm.errors import (
    UnhandledError,
    VllmError,
    invalid_parameter,
    invalid_value,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reward_client.testing._vllm.served_model import ServedModel


class TemplateError(VllmError):
    """An error about a conversation that the chat template cannot render."""


def chat_token_ids(
    served: ServedModel,
    messages: Sequence[forms.Message],
    options: forms.ChatOptions,
    *,
    add_generation_prompt: bool,
) -> list[int]:
    """Return the token IDs of a conversation.

    Raises:
        VllmError: If the conversation cannot be rendered.
    """
    dialect, tokenizer = served.dialect, served.judge.tokenizer
    if not messages:
        raise TemplateError(dialect.no_messages)
    if options.chat_template is not None and not dialect.takes_template:
        raise VllmError(
            "Chat template is passed with request, but --trust-request-chat-template is not set. "
            "Refused request with untrusted chat template."
        )
    if any(map(_has_more_than_text, messages)):
        raise VllmError(f"{served.name} is not a multimodal model")  # seen on 0.32.0
    if options.continue_final_message and add_generation_prompt:
        raise TemplateError(dialect.continue_conflict)
    try:
        text = tokenizer.render(
            [message.model_dump() for message in messages],
            add_generation_prompt=add_generation_prompt,
            continue_final_message=options.continue_final_message,
            tools=options.tools,
            template=options.chat_template or served.chat_template,
            variables=options.chat_template_kwargs,
        )
    except ValueError as error:
        raise TemplateError(str(error)) from error
    return tokenizer.encode(text, add_special_tokens=options.add_special_tokens)


def _has_more_than_text(message: forms.Message) -> bool:
    content = message.content
    return isinstance(content, list) and any(part.get("type") != "text" for part in content)


def pooling_prompts(
    served: ServedModel, form: pooling_forms.PoolingForm, path: str
) -> list[list[int]]:
    """Return the token IDs of every prompt of a pooling request, truncated and checked.

    Raises:
        VllmError: If a prompt is invalid.
        UnhandledError: If a prompt causes an unhandled exception in vLLM.
    """
    prompts = _content_ids(served, form, path)
    truncated = [_truncated(served, prompt, form) for prompt in prompts]
    if form.requested_length == 0 and served.dialect.drops_truncated:
        return []
    for prompt in truncated:
        _check_length(served, prompt)
        check_token_ids(served, prompt, path)
    return truncated


def _content_ids(
    served: ServedModel, form: pooling_forms.PoolingForm, path: str
) -> list[list[int]]:
    if isinstance(form, forms.Chat):
        return [_pooling_chat_ids(served, form.messages, form, path)]
    if isinstance(form, pooling_forms.ChatBatch):
        return [_pooling_chat_ids(served, messages, form, path) for messages in form.messages]
    if isinstance(form, pooling_forms.Input):
        return _input_ids(served, form.input, path, special=form.add_special_tokens)
    if isinstance(form, pooling_forms.Text):
        return _input_ids(served, form.input, path, special=form.add_special_tokens)
    if isinstance(form, pooling_forms.BareText):
        return _input_ids(served, form.input, path, special=True)
    raise invalid_parameter(
        "No IOProcessor plugin installed. Please refer to the documentation and to the "
        "'prithvi_geospatial_mae_io_processor' offline inference example for more details.",
        "task",
        served.dialect,
    )


def _pooling_chat_ids(
    served: ServedModel, messages: Sequence[forms.Message], options: forms.ChatOptions, path: str
) -> list[int]:
    """Return the token IDs of a conversation on a pooling route.

    There the generation prompt is off by default, and some versions ignore a request for it.
    """
    requested = options.add_generation_prompt and path in served.dialect.adds_generation_prompt
    return chat_token_ids(served, messages, options, add_generation_prompt=requested)


def _input_ids(
    served: ServedModel,
    given: list[int] | list[list[int]] | str | list[str],
    path: str,
    *,
    special: bool,
) -> list[list[int]]:
    dialect, tokenizer = served.dialect, served.judge.tokenizer
    if given == "" and path == "/classify" and dialect.no_text is not None:
        raise VllmError(dialect.no_text)
    if isinstance(given, str):
        given = [given]
    if not given or (dialect.empty_batch_is_no_prompt and given == [[]]):
        message = dialect.no_prompt[path]
        if message is None:
            return []
        if path in dialect.names_prompt:
            raise invalid_parameter(message, "prompt", dialect)
        raise VllmError(message)
    prompts: list[list[int]] = []
    token_ids: list[int] = []
    for item in given:
        if isinstance(item, int):
            token_ids.append(item)
        elif isinstance(item, str):
            prompts.append(tokenizer.encode(item, add_special_tokens=special))
        else:
            prompts.append(item)
    return [token_ids] if token_ids else prompts


def completion_prompts(
    served: ServedModel,
    given: list[int] | list[list[int]] | str | list[str],
    path: str,
    max_tokens: int,
) -> list[list[int]]:
    """Return the checked token IDs of every prompt of a request to generate.

    Raises:
        VllmError: If a prompt is invalid, or leaves no room for the generated tokens.
        UnhandledError: If a prompt causes an unhandled exception in vLLM.
    """
    prompts = _input_ids(served, given, path, special=True)
    is_text = isinstance(given, str) or any(isinstance(item, str) for item in given)
    for prompt in prompts:
        _check_room(served, len(prompt), max_tokens, is_text=is_text)
    for prompt in prompts:
        check_token_ids(served, prompt, path)
    return prompts


def _check_room(served: ServedModel, tokens: int, max_tokens: int, *, is_text: bool) -> None:
    dialect, limit = served.dialect, served.max_model_len
    generation = dialect.generation
    if generation.too_many_tokens and max_tokens > limit:
        message = generation.too_many_tokens.format(tokens=max_tokens, limit=limit)
        raise invalid_value(message, "max_tokens", max_tokens, dialect)
    room = limit if generation.shortens else limit - max_tokens
    if tokens > room:
        # vLLM stops to tokenize a text once it knows that the text is too long.
        counted = min(tokens, room + 1) if is_text and not dialect.counts_overlong else tokens
        message = generation.too_long.format(
            limit=limit,
            room=room,
            tokens=counted,
            max_tokens=max_tokens,
            total=counted + max_tokens,
            at_least="at least " if counted == room + 1 else "",
        )
        raise VllmError(message, parameter=dialect.too_long_parameter)
    if tokens == limit:
        raise invalid_value("max_tokens must be at least 1, got 0.", "max_tokens", 0, dialect)


def _truncated(
    served: ServedModel, prompt: list[int], form: pooling_forms.PoolingForm
) -> list[int]:
    length = form.requested_length
    if length is None:
        return prompt
    length = served.max_model_len if length == -1 else length
    side = form.requested_side
    keeps_last = side == "left" if side else served.dialect.truncation_keeps == "last"
    return prompt[max(0, len(prompt) - length) :] if keeps_last else prompt[:length]


def _check_length(served: ServedModel, prompt: Sequence[int]) -> None:
    dialect, limit = served.dialect, served.max_model_len
    if len(prompt) > limit:
        counted = len(prompt) if dialect.counts_overlong else limit + 1
        raise VllmError(
            dialect.too_long.format(limit=limit, tokens=counted),
            parameter=dialect.too_long_parameter,
        )


def check_token_ids(served: ServedModel, prompt: Sequence[int], path: str) -> None:
    """Refuse a prompt without tokens, or with a token ID outside of the vocabulary.

    Raises:
        VllmError: If vLLM refuses the prompt.
        UnhandledError: If the prompt causes an unhandled exception in vLLM.
    """
    dialect = served.dialect
    if not prompt:
        raise VllmError("The decoder prompt cannot be empty")
    limit = served.judge.vocabulary_size + dialect.vocabulary_slack
    unknown = next((token for token in prompt if token >= limit), None)
    if unknown is None and min(prompt) < 0:
        if path in dialect.engine_errors:
            dead = dialect.engine_errors[path]
            raise VllmError(
                dead.message, status=dead.status, code=dead.code, error_type=dead.error_type
            )
        if not dialect.refuses_negative:
            raise UnhandledError
        unknown = min(prompt)
    if unknown is not None:
        raise VllmError(f"Token id {unknown} is out of vocabulary")


def check_keys(served: ServedModel, body: Mapping[str, Any], path: str) -> None:
    """Refuse removed keys and tasks, which vLLM checks before it validates the body.

    Raises:
        VllmError: If the body has a removed key or task.
    """
    dialect = served.dialect
    for key, message in dialect.removed_keys.items():
        if key in body:
            raise invalid_parameter(message, key, dialect)
    removed = dialect.removed_tasks.get(str(body.get("task"))) if path == "/pooling" else None
    if removed:
        raise invalid_parameter(removed, "task", dialect)
    route, dimensions = served.effective_route(path), body.get("dimensions")
    if dimensions is None or route not in dialect.no_dimensions:
        return
    message = dialect.no_dimensions[route].format(model=served.name, dimensions=dimensions)
    if route == "/pooling":
        raise invalid_parameter(message, "dimensions", dialect)
    raise VllmError(message)
