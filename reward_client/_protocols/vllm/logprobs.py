"""Logits and logprobs of tokens at the next position, by ``/v1/completions``.

With a single allowed token the server "generates" that token and reports its number. The number is
the raw logit if the server runs with ``--logprobs-mode raw_logits`` or ``processed_logits``, and a
log-probability otherwise (seen on vLLM 0.10.2, 0.12.0, 0.16.0, 0.20.2, 0.25.1 and 0.32.0). Either
way, the difference between the numbers of two tokens equals the difference of their logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from reward_client._base.json_values import as_list, as_mapping
from reward_client._protocols.pooled_output import PooledOutput

PATH = "/v1/completions"
ITEM_KEY = "logprobs"

_FLOOR = -9999.0
"""vLLM's value for negative infinity in responses of the OpenAI API."""

MAX_LOGPROBS = 20
"""The largest number of logprobs in a response, unless ``--max-logprobs`` sets another."""

_PREFIX = "token_id:"

_MISSING = "the logprob of token {missing} is not among the {count} in the response."


def options(tokens: Sequence[int], *, by_name: bool) -> dict[str, object]:
    """Return the options that request the numbers of tokens for each prompt.

    Args:
        tokens: One or two tokens; none for the most likely token.
        by_name: True if the server reports the numbers of named tokens (vLLM 0.26 and later).
    """
    requested: dict[str, object] = {
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 1 if by_name or len(tokens) < 2 else MAX_LOGPROBS,
        # Another value in the model's generation_config.json would change processed logits.
        "repetition_penalty": 1.0,
        # As text, several tokens that are no whole characters would share one name.
        "return_tokens_as_token_ids": True,
    }
    if tokens:
        requested["logprob_token_ids" if by_name else "allowed_token_ids"] = [*tokens]
    return requested


def number_of(tokens: Sequence[int], value: object) -> PooledOutput | str | None:
    """Read the number of one token, or the difference between the numbers of two.

    Returns:
        None if the response holds another token; a text if one of two numbers is missing.
    """
    return _difference(tokens, value) if len(tokens) == 2 else _number(tokens, value)


def _number(tokens: Sequence[int], value: object) -> PooledOutput | None:
    fields = as_mapping(value) or {}
    names, numbers = as_list(fields.get("tokens")), as_list(fields.get("token_logprobs"))
    if names is None or numbers is None or len(names) != 1 or len(numbers) != 1:
        return None
    if tokens and names[0] != _name(tokens[0]):
        return None
    return _output(numbers[0])


def _difference(tokens: Sequence[int], value: object) -> PooledOutput | str | None:
    positions = as_list((as_mapping(value) or {}).get("top_logprobs"))
    single = positions is not None and len(positions) == 1
    numbers = as_mapping(positions[0]) if positions and single else None
    if numbers is None:
        return None
    missing = [token for token in tokens if _name(token) not in numbers]
    if missing:
        return _MISSING.format(missing=missing, count=len(numbers))
    first, second = (_output(numbers[_name(token)]) for token in tokens)
    if first is None or second is None:
        return None
    return PooledOutput((first.values[0] - second.values[0],), None)


def _output(number: object) -> PooledOutput | None:
    if number is None or number == _FLOOR:
        return PooledOutput((-inf,), None)
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    return PooledOutput((number,), None)


def _name(token: int) -> str:
    return f"{_PREFIX}{token}"


def token_id(name: str) -> int | None:
    """Return the ID in the name of a token; None if it names none."""
    digits = name.removeprefix(_PREFIX)
    return int(digits) if name != digits and digits.isascii() and digits.isdecimal() else None
