"""``/v1/completions`` of a generating server: the numbers of tokens at the next position.

With a single allowed token the server "generates" it, and reports its number: the raw logit where
it was started with ``--logprobs-mode raw_logits`` or ``processed_logits``, else a log-probability.
Seen on vLLM 0.10.2, 0.12.0, 0.16.0, 0.20.2, 0.25.1 and 0.32.0. The difference of two tokens'
numbers is that of their logits either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from reward_client._base.json_values import as_list, as_mapping
from reward_client._protocols.vllm.pooled_output import PooledOutput

PATH = "/v1/completions"
ITEM_KEY = "logprobs"

_FLOOR = -9999.0
"""What vLLM writes for negative infinity in the replies that it has from OpenAI."""

_MOST_LOGPROBS = 20
"""The most that a server tells, unless it was started with another ``--max-logprobs``."""

_MISSING = "the number of token {missing} is not among the {count} that the server tells."


def options(tokens: Sequence[int], *, by_name: bool) -> dict[str, object]:
    """What is asked of each prompt: the numbers of one or two tokens, or of the likeliest one.

    Args:
        tokens: The tokens.
        by_name: Whether the server tells the numbers of those it is given (vLLM 0.26 and later).
    """
    asked: dict[str, object] = {
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 1 if by_name or len(tokens) < 2 else _MOST_LOGPROBS,
        # A model's generation_config.json may hold another, which changes processed logits.
        "repetition_penalty": 1.0,
        # Else several tokens that are no whole characters have one name.
        "return_tokens_as_token_ids": True,
    }
    if tokens:
        asked["logprob_token_ids" if by_name else "allowed_token_ids"] = [*tokens]
    return asked


def number_of(tokens: Sequence[int], value: object) -> PooledOutput | str | None:
    """Reads the number of a token, or of the likeliest, or the difference of two.

    Returns:
        None if another token's number came; a text if that of one of two did not.
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
    told = as_list((as_mapping(value) or {}).get("top_logprobs"))
    numbers = as_mapping(told[0]) if told is not None and len(told) == 1 else None
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
    return f"token_id:{token}"
