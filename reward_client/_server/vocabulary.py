"""The size of a tokenizer's vocabulary, for servers that a token ID past it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from reward_client._base.together import together
from reward_client._base.token_ids import MAX_TOKEN_ID

_AT_ONCE = 8
_RUN = 16
"""IDs that are asked about together: single ones within the vocabulary may have no token."""


async def vocabulary_size(text: Callable[[Sequence[int]], Awaitable[str]], known: int) -> int:
    """Return one more than the largest ID that has a text.

    An ID past the vocabulary has the text "" (SGLang, live on 0.5.22 and 0.5.23).

    Args:
        text: Returns the text of token IDs.
        known: An ID that has one.
    """

    async def is_token(first: int, count: int) -> bool:
        return await text(range(first, first + count)) != ""

    low: int = known
    high: int = 2 * (known + _RUN)
    while high < MAX_TOKEN_ID - _RUN and await is_token(high, _RUN):
        low, high = high, 2 * high
    while high - low > 1:
        # Near the end each ID is asked for by itself.
        count = _RUN if high - low > _RUN else 1
        step: int = max(1, (high - low) // _AT_ONCE)
        places: list[int] = [*range(low + step, high, step)]
        are_tokens = await together(is_token(place, count) for place in places)
        found = [index for index, is_one in enumerate(are_tokens, start=1) if is_one]
        bounds = [low, *places, high]
        last = found[-1] if found else 0
        low, high = bounds[last], bounds[last + 1]
    return low + 1
