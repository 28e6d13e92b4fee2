"""Log-probabilities of tokens at the next position, by ``/generate``.

The differences of two log-probabilities equal those of the logits; a single one is no logit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.numeric import is_finite_number
from reward_client._protocols.pooled_output import PooledOutput

PATH = "/generate"


def options(tokens: Sequence[int]) -> dict[str, object]:
    """Return the options that request the log-probabilities of tokens for each prompt.

    Args:
        tokens: One or two tokens, for which nothing is generated; none for the likeliest one, which
            is.
    """
    if not tokens:
        return {
            "sampling_params": {"max_new_tokens": 1, "temperature": 0},
            "return_logprob": True,
            "top_logprobs_num": 1,
        }
    return {
        "sampling_params": {"max_new_tokens": 0, "temperature": 0},
        "return_logprob": True,
        "token_ids_logprob": [*tokens],  # of each prompt; routers refuse a list for each
    }


def number_of(tokens: Sequence[int], item: Mapping[str, object]) -> PooledOutput | str | None:
    """Read the number of an item: of a token, of the likeliest token, or a difference of two."""
    info = as_mapping(item.get("meta_info")) or {}
    key = "output_token_ids_logprobs" if tokens else "output_top_logprobs"
    positions = as_list(info.get(key))
    entries = as_list(positions[0]) if positions else None
    if entries is None:
        return None
    numbers: dict[object, object] = {}
    for entry in entries:
        pair = as_list(entry) or []
        if len(pair) >= 2:
            numbers[pair[1]] = pair[0]
    if not tokens:
        tokens = [token for token in numbers if isinstance(token, int)][:1]
    missing = [token for token in tokens if token not in numbers]
    if missing:
        return f"the logprob of token {missing} is not among the {len(numbers)} in the response."
    values = [-inf if numbers[token] is None else numbers[token] for token in tokens]
    floats = [float(each) for each in values if is_finite_number(each)]
    if len(floats) < len(values):
        return PooledOutput((-inf,), None)
    return PooledOutput((floats[0] - (floats[1] if len(floats) > 1 else 0.0),), None)
