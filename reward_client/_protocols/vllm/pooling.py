"""``/pooling``: rewards since vLLM 0.9.1, as nested lists, which keep their shape."""

from __future__ import annotations

from itertools import chain
from typing import Final, cast

from reward_client._base.json_values import as_list, is_list
from reward_client._protocols.vllm.pooled_output import PooledOutput

PATH = "/pooling"
ITEM_KEY = "data"
FORMAT: Final = "float"

_NUMBERS = frozenset({float, int, type(None)})  # null is a number that is not finite


def read_item(value: object) -> PooledOutput | None:
    """A list of numbers, or of equally long rows of numbers; None if it is something else."""
    if not is_list(value):
        return None
    if not value:
        return PooledOutput((), 0)
    items = value
    rows = None
    if type(items[0]) is list:
        nested = [row for item in items if (row := as_list(item)) is not None]
        rows = len(nested)
        if rows != len(items) or len(set(map(len, nested))) != 1:
            return None
        items = list(chain.from_iterable(nested))
    if not _NUMBERS.issuperset(map(type, items)):
        return None
    return PooledOutput(cast("list[float]", items), rows)
