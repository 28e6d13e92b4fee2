"""Checks that every reply with pooled output must pass before a number in it is believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.wording import describe_type
from reward_client._protocols.http import Response
from reward_client._protocols.vllm.pooled_output import MissingLogprobError, PooledOutput
from reward_client.errors import (
    NonFiniteRewardError,
    ProtocolError,
    ResponseMismatchError,
    ShapeError,
)

_LARGEST_FLOAT32 = (2 - 2.0**-23) * 2.0**127
"""vLLM's numbers are float32: a larger one stands for an infinite one."""


def read_items(
    response: Response,
    count: int,
    tokens: range,
    list_key: str,
    item_key: str,
    read_item: Callable[[object], PooledOutput | str | None],
) -> list[PooledOutput | ProtocolError]:
    """The pooled outputs of a reply, sorted by index and checked against the request.

    An item that is of no use stands there as its error: `NonFiniteRewardError` for NaN, infinity or
    null, `ShapeError` for what is not made of numbers.

    Args:
        response: The reply.
        count: How many items were asked for.
        tokens: How many tokens the server may say that it has scored.
        list_key: Where the items are.
        item_key: Where an item holds its output.
        read_item: Reads that; None for what is not made of numbers, and in words what was left out.

    Raises:
        ResponseMismatchError: Items are missing, doubled or extra, or other tokens were scored.
    """
    fields = response.fields()
    _check_usage(response, fields, tokens)
    return [
        _checked(response, index, read_item(item.get(item_key)))
        for index, item in enumerate(_sorted_items(response, fields, list_key, count))
    ]


def _checked(
    response: Response, index: int, output: PooledOutput | str | None
) -> PooledOutput | ProtocolError:
    if isinstance(output, str):
        return response.error(MissingLogprobError, f"Item {index} of the reply: {output}")
    if output is None:
        return response.error(
            ShapeError,
            f"Item {index} of the reply holds no numbers of the kind that was asked for. "
            "If a gateway drops keys of the request, ask the server itself.",
        )
    if _are_finite(output.values):
        return output
    return response.error(
        NonFiniteRewardError,
        f"Item {index} of the reply holds NaN, infinity or null. The model overflowed (float16 "
        "does; try --dtype bfloat16 or float32), or its weights are broken.",
    )


def _check_usage(response: Response, fields: Mapping[str, object], tokens: range) -> None:
    counted = (as_mapping(fields.get("usage")) or {}).get("prompt_tokens")
    if type(counted) not in (int, float) or counted not in tokens:
        scored = counted if isinstance(counted, int | None) else describe_type(counted)
        sent = tokens[0] if len(tokens) == 1 else f"{tokens[0]} to {tokens[-1]}"
        raise response.error(
            ResponseMismatchError,
            f"{sent} token IDs were sent and the server scored {scored}: it truncated them, added "
            "to them, or answered another request.",
        )


def _sorted_items(
    response: Response, fields: Mapping[str, object], list_key: str, count: int
) -> list[Mapping[str, object]]:
    items = as_list(fields.get(list_key)) or []
    by_index: dict[int, Mapping[str, object]] = {}
    for item in map(as_mapping, items):
        index = item.get("index") if item is not None else None
        if item is not None and type(index) is int:
            by_index[index] = item
    if len(items) != count or by_index.keys() != set(range(count)):
        raise response.error(
            ResponseMismatchError,
            f"Items asked for: {count}; in the reply: {len(items)}, with the indices "
            f"{sorted(by_index)[:20]}. A proxy or a fault of the server mixed up replies.",
        )
    return [by_index[index] for index in range(count)]


def _are_finite(values: Sequence[float]) -> bool:
    try:
        for value in values:
            if not -_LARGEST_FLOAT32 <= value <= _LARGEST_FLOAT32:
                return False
    except TypeError:  # null: how vLLM with orjson writes NaN
        return False
    return True
