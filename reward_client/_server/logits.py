"""A token's logit from a generating server: which token, and whether the numbers are logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reward_client._base.activation import Activation
from reward_client._protocols.http import Transport
from reward_client._protocols.vllm.tokenize import text_call, token_ids
from reward_client._server.negotiation import Negotiated
from reward_client.errors import ActivationError, InputError

_ROUNDING = 1e-3
"""What the logarithm of a probability may be above 0 by rounding."""


async def token_ids_of(
    transport: Transport, model: str, tokens: Sequence[int | str]
) -> tuple[int, ...]:
    """The IDs of tokens that were given by them, or as text.

    Raises:
        InputError: A text is not one token, or two of them are the same one.
        RewardClientError: As `Transport.call`.
    """
    ids = tuple([await _token_id(transport, model, token) for token in tokens])
    if len(set(ids)) != len(ids):
        raise InputError(f"{tokens[0]!r} and {tokens[1]!r} are one token of this model: {ids[0]}.")
    return ids


async def proven_logits(transport: Transport, model: str, found: Negotiated) -> Activation:
    """That the numbers of a generating server are logits, which no server says of itself.

    The likeliest token's log-probability is never above 0, and its logit nearly always is.

    Raises:
        ActivationError: They may be log-probabilities.
        RewardClientError: As `Transport.call`.
    """
    likeliest = replace(found.way.ask, tokens=())
    response = await transport.call(likeliest.call(model, found.ids))
    numbers = [output.values[0] for output in likeliest.read(response, found.ids)]
    if max(numbers) > _ROUNDING:
        return Activation("none", "probe")
    raise response.error(
        ActivationError,
        f"The likeliest tokens after {len(numbers)} probes have numbers up to {max(numbers):.4g}, "
        "none above 0: these are log-probabilities, not logits. Start the server with "
        f"{found.way.flag} (vLLM 0.10.0 and later).",
    )


async def _token_id(transport: Transport, model: str, token: int | str) -> int:
    """The ID of a token that was given by it, or as text.

    Raises:
        InputError: The text is not one token.
        RewardClientError: As `Transport.call`.
    """
    if isinstance(token, int):
        return token
    ids = token_ids(await transport.call(text_call(model, token, add_special_tokens=False)))
    if len(ids) != 1:
        raise InputError(
            f"{token!r} is {len(ids)} tokens of this model ({[*ids[:8]]}) and must be one. Does a "
            "space before it belong to it? A token that text never becomes can be given by its ID."
        )
    return ids[0]
