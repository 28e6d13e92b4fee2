"""Probes: eight token lists whose values show the shape of a server's output and its activation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

from reward_client._base.json_values import as_count
from reward_client._base.token_ids import TokenIds
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.tokenize import (
    detokenize,
    text_request,
    token_ids,
    tokenize_text,
)
from reward_client._tokenization.prompt_rules import StepToken
from reward_client.errors import InputError, ResponseMismatchError
from reward_client.heads import StepHead

# Tokenized once for each server, cut into pieces of different lengths and scored. Diverse, so that
# the values differ.
_TEXT = (
    "What is 17 + 25? The answer is 42, because seven and five make twelve. Paris, Zürich and 東京 "
    "are cities; def f(x): return x ** 2 is code!!! I am sorry, I cannot help with that. ¿Por qué "
    "no? No no no no. Yes. https://example.org/a?b=c&d=%20 {'key': [1, 2.5, null]} THE END"
)
_OTHER_TEXT = "Another text, so that two replies differ."
_COUNT = 8
_SHORTEST = 3
_STRIDE = 5
_MAX_STEPS = 3
_CHARACTERS = 24


async def tokenize_probe_text(
    transport: Transport, model: str
) -> tuple[TokenIds, int | None, int | None]:
    """Tokenize the text of all probes.

    Returns:
        Its token IDs; the BOS token, if the tokenizer adds one; the length limit that ``/tokenize``
        names, if any.

    Raises:
        ResponseMismatchError: If another text gets the same token IDs.
        RewardClientError: As `Transport.send`.
    """
    other = await tokenize_text(transport, model, _OTHER_TEXT, add_special_tokens=True)
    response = await transport.send(text_request(model, _TEXT, add_special_tokens=True))
    ids = token_ids(response)
    if ids == other:
        raise response.error(
            ResponseMismatchError,
            "Cannot trust /tokenize: two different texts get the same token IDs. A proxy caches "
            "responses by their path. Connect to the server itself.",
        )
    bare = await tokenize_text(transport, model, _TEXT, add_special_tokens=False)
    bos = ids[0] if ids[1 : 1 + len(bare)] == bare else None
    return bare, bos, as_count(response.fields().get("max_model_len"))


async def reprobe(
    transport: Transport, model: str, step: StepToken | None
) -> tuple[tuple[int, ...], ...]:
    """Tokenize the text of all probes again, and cut it again."""
    return cut_probes(await tokenize_text(transport, model, _TEXT, add_special_tokens=False), step)


def cut_probes(text: Sequence[int], step: StepToken | None) -> tuple[tuple[int, ...], ...]:
    """Cut a text into probes; for step rewards each holds one to three step tokens."""
    return tuple(_piece(text, number, step) for number in range(_COUNT))


async def text_probes(transport: Transport, model: str) -> tuple[list[str], list[TokenIds]]:
    """Make texts, with the token IDs that the server itself makes of them."""
    texts = [
        _TEXT[number * _CHARACTERS : (number + 1) * _CHARACTERS + _STRIDE * number]
        for number in range(_COUNT)
    ]
    return texts, [
        await tokenize_text(transport, model, text, add_special_tokens=True) for text in texts
    ]


async def token_ids_of(
    transport: Transport, model: str, tokens: Sequence[int | str]
) -> tuple[int, ...]:
    """Return the IDs of tokens that are given as IDs or texts.

    Raises:
        InputError: If a text is not one token, or two of them are the same token.
        RewardClientError: As `Transport.send`.
    """
    ids = tuple(
        [
            token if isinstance(token, int) else await _single_token(transport, model, token)
            for token in tokens
        ]
    )
    if len(set(ids)) != len(ids):
        raise InputError(f"{tokens[0]!r} and {tokens[1]!r} are one token of this model: {ids[0]}.")
    return ids


async def step_token(transport: Transport, model: str, head: StepHead) -> StepToken:
    """Return the ID and the text of the step token.

    Raises:
        InputError: If its text is not one token, or its ID has no text.
        RewardClientError: As `Transport.send`.
    """
    given = head.step_token
    if isinstance(given, str):
        return StepToken(await _single_token(transport, model, given, "step_token="), given)
    text = await detokenize(transport, model, [given])
    if not text or "\ufffd" in text:
        raise InputError(
            f"step_token={given} has no text in this model ({text!r}), and cannot separate steps. "
            "Check the ID."
        )
    return StepToken(given, text)


async def _single_token(transport: Transport, model: str, text: str, option: str = "") -> int:
    """Return the ID of the token that a text must be.

    Raises:
        InputError: If the text is not one token.
        RewardClientError: As `Transport.send`.
    """
    ids = await tokenize_text(transport, model, text, add_special_tokens=False)
    if len(ids) != 1:
        raise InputError(
            f"{option}{text!r} is {len(ids)} tokens of this model ({[*ids[:8]]}) and must be one. "
            "Check the model, and a space before the text. A token that no text becomes can be "
            "given by its ID."
        )
    return ids[0]


def _piece(ids: Sequence[int], number: int, step: StepToken | None) -> tuple[int, ...]:
    start = number * _STRIDE
    piece = list(islice(cycle(ids), start, start + _SHORTEST + number))
    if step is not None:
        for index in range(1 + number % _MAX_STEPS):
            piece.insert(2 * index + 1, step.token_id)
    return tuple(piece)
