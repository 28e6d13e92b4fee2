"""Probes: eight token lists whose values show the shape of a server's output and its activation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

from reward_client._base.token_ids import TokenIds
from reward_client._protocols.engine import Served
from reward_client._protocols.http import Transport
from reward_client._protocols.tokenizing import tokenize_text
from reward_client._server.texts import PROBE_TEXT, Texts
from reward_client._tokenization.prompt_rules import StepToken
from reward_client.errors import InputError
from reward_client.heads import StepHead

_COUNT = 8
_SHORTEST = 3
_STRIDE = 5
_MAX_STEPS = 3
_CHARACTERS = 24


def cut_probes(text: Sequence[int], step: StepToken | None) -> tuple[tuple[int, ...], ...]:
    """Cut a text into probes; for step rewards each holds one to three step tokens."""
    return tuple(_piece(text, number, step) for number in range(_COUNT))


def twins_of(
    probes: Sequence[Sequence[int]], step: StepToken | None
) -> tuple[tuple[int, ...], ...]:
    """Return other token lists as long as the probes, with step tokens in the same places."""
    ends_step = None if step is None else step.token_id
    tokens = cycle(token for ids in reversed(probes) for token in ids if token != ends_step)
    return tuple(
        tuple(token if token == ends_step else next(tokens) for token in ids) for ids in probes
    )


async def text_probes(transport: Transport, served: Served) -> tuple[list[str], list[TokenIds]]:
    """Make texts, with the token IDs that the server itself makes of them."""
    texts = [
        PROBE_TEXT[number * _CHARACTERS : (number + 1) * _CHARACTERS + _STRIDE * number]
        for number in range(_COUNT)
    ]
    return texts, [
        await tokenize_text(transport, served, text, add_special_tokens=True) for text in texts
    ]


async def token_ids_of(texts: Texts, tokens: Sequence[int | str]) -> tuple[int, ...]:
    """Return the IDs of tokens that are given as IDs or texts.

    Raises:
        InputError: If a text is not one token, or two of them are the same token.
        RewardClientError: As `Transport.send`.
    """
    ids = tuple(
        [token if isinstance(token, int) else await _single_token(texts, token) for token in tokens]
    )
    if len(set(ids)) != len(ids):
        raise InputError(f"{tokens[0]!r} and {tokens[1]!r} are one token of this model: {ids[0]}.")
    return ids


async def step_token(texts: Texts, head: StepHead) -> StepToken:
    """Return the ID and the text of the step token.

    Raises:
        InputError: If its text is not one token, or its ID has no text.
        RewardClientError: As `Transport.send`.
    """
    given = head.step_token
    if isinstance(given, str):
        return StepToken(await _single_token(texts, given, "step_token="), given)
    text = await texts.text([given])
    if not text or "\ufffd" in text:
        raise InputError(
            f"step_token={given} has no text in this model ({text!r}), and cannot separate steps. "
            "Check the ID."
        )
    return StepToken(given, text)


async def _single_token(texts: Texts, text: str, option: str = "") -> int:
    """Return the ID of the token that a text must be.

    Raises:
        InputError: If the text is not one token.
        RewardClientError: As `Transport.send`.
    """
    ids = await texts.ids(text, add_special_tokens=False)
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
