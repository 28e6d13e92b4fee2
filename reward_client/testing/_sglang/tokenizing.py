"""`/tokenize` and `/detokenize`, with the conversations that SGLang rewrites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reward_client.testing._sglang.errors import SglangError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.testing._sglang import forms
    from reward_client.testing._sglang.served_model import ServedModel


def tokenized(served: ServedModel, form: forms.Tokenization) -> dict[str, Any]:
    """Return the response of `/tokenize`.

    Raises:
        SglangError: If the conversation cannot be rendered.
    """
    encode = served.judge.tokenizer.encode
    tokens: list[int] | list[list[int]]
    count: int | list[int]
    if form.messages is not None:
        tokens = _chat_ids(served, form.messages, form)
        count = len(tokens)
    elif isinstance(form.prompt, list):
        tokens = [encode(text, add_special_tokens=form.add_special_tokens) for text in form.prompt]
        count = [len(ids) for ids in tokens]
    else:
        tokens = encode(form.prompt or "", add_special_tokens=form.add_special_tokens)
        count = len(tokens)
    return {"tokens": tokens, "count": count, "max_model_len": served.max_model_len}


def _chat_ids(
    served: ServedModel, messages: Sequence[forms.Message], form: forms.Tokenization
) -> list[int]:
    if not messages:
        raise SglangError("Messages cannot be empty.")
    heeded = form.add_generation_prompt if served.dialect.tokenize == "heeds" else None
    if form.continue_final_message and heeded is False:
        raise SglangError(
            "continue_final_message needs add_generation_prompt to open the assistant turn."
        )
    rendered = [{**message.model_dump(), "content": _text(message.content)} for message in messages]
    continued = ""
    if heeded is None or form.continue_final_message:
        rendered, continued = _without_answer(rendered, continues=form.continue_final_message)
    tokenizer = served.judge.tokenizer
    try:
        text = tokenizer.render(
            rendered,
            add_generation_prompt=heeded is not False,
            tools=form.tools,
            template=served.chat_template,
            variables=form.chat_template_kwargs,
        )
    except ValueError as error:
        raise SglangError(str(error)) from error
    adds_special = (
        heeded is not None
        and form.add_special_tokens
        and "add_special_tokens" in form.model_fields_set
    )
    return [
        *tokenizer.encode(text, add_special_tokens=adds_special),
        *tokenizer.encode(continued, add_special_tokens=False),
    ]


def _without_answer(
    messages: list[dict[str, Any]], *, continues: bool
) -> tuple[list[dict[str, Any]], str]:
    """Turn a last assistant's turn into a user's, or take it off to continue it.

    This is what SGLang does to the conversation of a chat completion.
    """
    last = messages[-1]
    if last["role"] != "assistant":
        return messages, ""
    if continues:
        return messages[:-1], last["content"]
    return [*messages[:-1], {**last, "role": "user"}], ""


def _text(content: str | list[dict[str, Any]] | None) -> str:
    """Return the text of a message; SGLang joins the parts of a list by spaces."""
    if isinstance(content, list):
        return " ".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""


def detokenized(served: ServedModel, form: forms.Detokenization) -> dict[str, Any]:
    """Return the response of `/detokenize`.

    Raises:
        SglangError: If an ID is negative.
    """

    def text(ids: Sequence[int]) -> str:
        try:
            return served.judge.tokenizer.decode(ids, skip_special_tokens=form.skip_special_tokens)
        except OverflowError as error:
            raise SglangError(
                f"Internal server error during detokenization: {error}",
                status=500,
                error_type="InternalServerError",
            ) from error

    many = [ids for ids in form.tokens if isinstance(ids, list)]
    one = [token for token in form.tokens if isinstance(token, int)]
    return {"text": [text(ids) for ids in many] if many else text(one)}
