"""Inputs: from a body's content to checked token IDs, with the requests that end a server."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from reward_client.testing._sglang.errors import (
    ServerDeathError,
    SglangError,
    UnhandledError,
    not_implemented,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from reward_client.testing._sglang import forms
    from reward_client.testing._sglang.served_model import ServedModel

_NOT_EMBEDDING = (
    "This model does not appear to be an embedding model by default. Please add `--is-embedding` "
    "when launching the server or try another model."
)


def native_inputs(served: ServedModel, form: forms.NativeEmbedding) -> tuple[list[list[int]], bool]:
    """Return the token IDs of the inputs to embed, and whether there is a list of inputs.

    Raises:
        SglangError: If there is no input, or two of them.
        UnhandledError: If the list of token IDs is empty.
    """
    if form.text is None and form.input_ids is None:
        raise SglangError(served.dialect.no_input)
    if form.text is not None and form.input_ids is not None:
        raise SglangError("text and input_ids cannot be provided at the same time")
    if form.text is not None:
        return text_inputs(served, form.text)
    if not form.input_ids:
        raise UnhandledError
    return id_inputs(form.input_ids)


def text_inputs(
    served: ServedModel, text: str | Sequence[str | list[str]]
) -> tuple[list[list[int]], bool]:
    """Return the token IDs of texts, with the special tokens of the tokenizer.

    A text that has a BOS already gets a second one.
    """
    texts = [text] if isinstance(text, str) else text
    ids: list[list[int]] = []
    for one in texts:
        if not isinstance(one, str):
            raise not_implemented("The test server takes no lists of texts, though SGLang does.")
        ids.append(served.judge.tokenizer.encode(one, add_special_tokens=True))
    return ids, not isinstance(text, str)


def id_inputs(token_ids: Sequence[int | list[int]]) -> tuple[list[list[int]], bool]:
    """Return the inputs of a list of token IDs, or of a list of such lists."""
    many = [ids for ids in token_ids if isinstance(ids, list)]
    if many:
        return many, True
    return [[token for token in token_ids if isinstance(token, int)]], False


def openai_inputs(
    served: ServedModel,
    given: str | Sequence[int | list[int] | str | forms.MultimodalEmbeddingInput],
) -> list[list[int]]:
    """Return the token IDs of the inputs of a route under `/v1`.

    Raises:
        SglangError: If an input is empty, or a token ID of a single input is negative.
    """
    if not given:
        raise SglangError("Input cannot be empty")
    if isinstance(given, str):
        if not given.strip():
            raise SglangError("Input cannot be empty or whitespace only")
        return text_inputs(served, given)[0]
    texts = [text for text in given if isinstance(text, str)]
    for index, text in enumerate(texts):
        if not text.strip():
            raise SglangError(f"Input at index {index} cannot be empty or whitespace only")
    if texts:
        return text_inputs(served, texts)[0]
    ids, are_many = id_inputs([each for each in given if isinstance(each, int | list)])
    if not ids[0] and not are_many:
        raise not_implemented("The test server takes no images, though SGLang does.")
    for index, token in enumerate([] if are_many else ids[0]):
        if token < 0:
            raise SglangError(f"Token ID at index {index} must be non-negative")
    return ids


def check_lengths(served: ServedModel, inputs: Iterable[Sequence[int]]) -> None:
    """Refuse an input that does not leave one token of the context.

    Raises:
        SglangError: If there is one.
    """
    for ids in inputs:
        if len(ids) >= served.max_model_len:
            raise SglangError(
                f"The input ({len(ids)} tokens) is longer than the model's context length "
                f"({served.max_model_len} tokens)."
            )


def check_embeds(served: ServedModel) -> None:
    """Refuse an embedding on a server that generates.

    Raises:
        SglangError: If the server generates.
    """
    if served.generates:
        raise SglangError(_NOT_EMBEDDING)


def check_dimensions(served: ServedModel, dimensions: int | None) -> None:
    """Refuse another number of dimensions than the model's.

    Raises:
        SglangError: If the request names one.
    """
    if dimensions is not None and served.dialect.reduces:
        raise SglangError(
            f"Model '{served.path}' does not support matryoshka representation, changing output "
            "dimensions will lead to poor results."
        )


def check_survivable(served: ServedModel, inputs: Collection[Sequence[int]]) -> None:
    """End the server where an input ends a real one.

    Raises:
        ServerDeathError: If an input is empty or has an ID outside of the vocabulary.
    """
    size = served.judge.vocabulary_size
    alone = not any(inputs)
    for ids in inputs:
        if not ids and (alone or served.dialect.empty_list_ends):
            raise ServerDeathError
        if ids and not 0 <= min(ids) <= max(ids) < size:
            raise ServerDeathError


def check_generates(served: ServedModel, inputs: Collection[Sequence[int]]) -> None:
    """End the server where a prompt ends a real one.

    Raises:
        ServerDeathError: If a prompt is empty or has an ID outside of the vocabulary.
        SglangError: If there is an empty prompt that the version answers, and this server does not.
    """
    check_survivable(served, inputs)
    if not all(inputs):
        raise not_implemented("The test server generates nothing after an empty list of tokens.")


def request_ids(
    served: ServedModel, rid: str | list[str] | None, count: int, *, are_many: bool
) -> list[str]:
    """Return the ID of each input's request.

    Raises:
        SglangError: If two are the same.
        UnhandledError: If the number of IDs is not the number of inputs.
    """
    if rid is None:
        return [secrets.token_hex(16) for _ in range(count)]
    if isinstance(rid, str) and not are_many:
        return [rid]
    if isinstance(rid, str) or len(rid) != count:
        raise UnhandledError
    twice = [one for one in dict.fromkeys(rid) if rid.count(one) > 1]
    if twice and served.dialect.refuses_equal_rids:
        raise SglangError(f"Duplicate request IDs detected within the request: {twice}")
    return rid
