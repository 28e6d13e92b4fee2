"""The checks of every response with pooled output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from operator import attrgetter

from reward_client._base.json_values import as_list, as_mapping, is_dict
from reward_client._base.wording import describe_type, shorten
from reward_client._protocols.http import Response
from reward_client._protocols.pooled_output import MissingLogprobError, PooledOutput
from reward_client.errors import (
    NonFiniteRewardError,
    ProtocolError,
    ResponseMismatchError,
    ShapeError,
)


class UncountedError(ResponseMismatchError):
    """The response does not count the tokens. Callers see a `ResponseMismatchError`."""


_LARGEST_FLOAT32 = (2 - 2.0**-23) * 2.0**127
"""vLLM's numbers are float32: a larger one stands for infinity."""
_DIGITS = 20
_SHOWN_KEYS = 5
_SHOWN_CHARACTERS = 80

_values: Callable[[PooledOutput], Sequence[float]] = attrgetter("values")


def read_items(
    response: Response,
    count: int,
    tokens: range | None,
    list_key: str,
    item_key: str,
    read_item: Callable[[object], PooledOutput | str | None],
) -> list[PooledOutput | ProtocolError]:
    """Read the pooled outputs of a response, sorted by index and checked against the request.

    An unusable item becomes an error in its place: `NonFiniteRewardError` for NaN, infinity or
    null; `MissingLogprobError` for a missing logprob; `ShapeError` for anything else.

    Args:
        response: The response.
        count: The number of items requested.
        tokens: The possible numbers of tokens that the server scored; None if it counts none.
        list_key: The key of the items.
        item_key: The key of an item's output.
        read_item: Reads an item. It returns None if the item holds no numbers, and a text if a
            logprob is missing.

    Raises:
        UncountedError: If the response does not count the tokens.
        ResponseMismatchError: If items are missing, doubled or extra, or the server scored other
            tokens.
    """
    fields = response.fields()
    if as_list(fields.get(list_key)) is None:
        raise response.error(
            ResponseMismatchError,
            f"The response holds no list {list_key!r} and {_keys_of(fields)}. A gateway answers in "
            "the place of the server: read its log, or connect to the server itself.",
        )
    if tokens is not None:
        _check_usage(response, fields, tokens)
    items = _sorted_items(response, fields, list_key, count)
    outputs = [read_item(item.get(item_key)) for item in items]
    read = [output for output in outputs if isinstance(output, PooledOutput)]
    if len(read) == count and _are_finite([*chain.from_iterable(map(_values, read))]):
        return [*read]  # one check for all outputs; the checks of each take longer than reading
    return [checked_output(response, index, output) for index, output in enumerate(outputs)]


def checked_output(
    response: Response, index: int, output: PooledOutput | str | None
) -> PooledOutput | ProtocolError:
    """Return an output if its numbers are finite, or else the error in its place.

    Args:
        response: The response.
        index: The place of the output in it.
        output: The output; None if it holds no numbers, and a text if a logprob is missing.
    """
    if isinstance(output, str):
        return response.error(MissingLogprobError, f"Item {index} of the response: {output}")
    if output is None:
        return response.error(
            ShapeError,
            f"Item {index} of the response holds no numbers of the requested kind. "
            "If a gateway drops keys of the request, send it to the server directly.",
        )
    if _are_finite(output.values):
        return output
    return response.error(
        NonFiniteRewardError,
        f"Item {index} of the response holds NaN, infinity or null. The model overflowed (float16 "
        "does; try --dtype bfloat16 or float32), or its weights are broken.",
    )


def _check_usage(response: Response, fields: Mapping[str, object], tokens: range) -> None:
    counted = (as_mapping(fields.get("usage")) or {}).get("prompt_tokens")
    if counted is None or (counted == 0 and 0 not in tokens):  # Go writes a missing number as 0
        raise response.error(
            UncountedError,
            "The response does not count the tokens of the request (usage.prompt_tokens), as the "
            "server does: a gateway drops the count. Let it pass, or connect to the server itself.",
        )
    if isinstance(counted, str) and counted.isdecimal():
        counted = int(counted[:_DIGITS])  # JSON of protocol buffers writes 64-bit integers as text
    if type(counted) not in (int, float) or counted not in tokens:
        scored = counted if isinstance(counted, int | None) else describe_type(counted)
        sent = tokens[0] if len(tokens) == 1 else f"{tokens[0]} to {tokens[-1]}"
        raise response.error(
            ResponseMismatchError,
            f"{sent} token IDs were sent, but the server scored {scored}: it truncated them, added "
            "tokens, or answered another request.",
        )


def _sorted_items(
    response: Response, fields: Mapping[str, object], list_key: str, count: int
) -> list[Mapping[str, object]]:
    items = as_list(fields.get(list_key)) or []
    by_index = {
        index: item for item in items if is_dict(item) and type(index := item.get("index")) is int
    }
    if len(items) != count or by_index.keys() != set(range(count)):
        raise response.error(
            ResponseMismatchError,
            f"{count} items were requested, and the response holds {len(items)} with the indices "
            f"{sorted(by_index)[:20]}. A proxy or the server mixed up responses.",
        )
    return [by_index[index] for index in range(count)]


def _keys_of(fields: Mapping[str, object]) -> str:
    keys = ", ".join(map(repr, islice(fields, _SHOWN_KEYS)))
    return f"the keys {shorten(keys, _SHOWN_CHARACTERS)}" if keys else "is empty"


def _are_finite(values: Sequence[float]) -> bool:
    try:
        return sum(map(abs, values)) <= _LARGEST_FLOAT32 or all(
            -_LARGEST_FLOAT32 <= value <= _LARGEST_FLOAT32 for value in values
        )
    except TypeError:  # null: vLLM with orjson writes NaN like this
        return False
