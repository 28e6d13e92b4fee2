"""One way to ask a server for pooled output, over any route."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from reward_client.calls import Call, Reply
from reward_client.routes import classify, embeddings, pooling
from reward_client.routes.pooled import PooledOutput
from reward_client.routes.replies import read_items

__all__ = ["Ask", "RouteName", "Sends"]

TokenIds: TypeAlias = Sequence[int]
RouteName: TypeAlias = Literal["embeddings", "pooling", "classify"]
Sends: TypeAlias = Literal["ids", "text"]


@dataclass(frozen=True, slots=True)
class _Route:
    path: str
    item_key: str
    encoding_format: str | None
    read_item: Callable[[object], PooledOutput | None]


_ROUTES: Mapping[RouteName, _Route] = {
    "embeddings": _Route(
        embeddings.PATH, embeddings.ITEM_KEY, embeddings.FORMAT, embeddings.read_item
    ),
    "pooling": _Route(pooling.PATH, pooling.ITEM_KEY, pooling.FORMAT, pooling.read_item),
    "classify": _Route(classify.PATH, classify.ITEM_KEY, None, pooling.read_item),
}


@dataclass(frozen=True, slots=True)
class Ask:
    """One way to ask a server for pooled output.

    Attributes:
        route: The route.
        task: The pooling task to name, None to name none.
        switches: Keys that ask for the raw value; exactly those that the version knows.
        raw_by: Why the values are known to be raw, None where only the values can tell.
        sends: ``"ids"``, or ``"text"`` where the route takes nothing else.
    """

    route: RouteName
    task: str | None = None
    switches: Mapping[str, bool] = field(default_factory=dict[str, bool])
    raw_by: Literal["request", "task"] | None = None
    sends: Sends = "ids"

    @property
    def path(self) -> str:
        """The route's path."""
        return _ROUTES[self.route].path

    @property
    def encoding(self) -> str:
        """What the numbers are asked for as."""
        return _ROUTES[self.route].encoding_format or "float"

    def call(self, model: str, inputs: Sequence[TokenIds] | Sequence[str]) -> Call:
        """The request for the pooled output of several token lists, or of their texts."""
        body: dict[str, object] = {"model": model, "input": inputs, **self.switches}
        if self.task is not None:
            body["task"] = self.task
        encoding = _ROUTES[self.route].encoding_format
        if encoding is not None:
            body["encoding_format"] = encoding
        return Call("POST", self.path, body)

    def read(self, reply: Reply, inputs: Sequence[TokenIds]) -> list[PooledOutput]:
        """The pooled outputs, in the order of the token lists.

        Raises:
            ResponseMismatchError: Items are missing, doubled or extra, or other tokens were scored.
            NonFiniteRewardError: A value is NaN, infinite or null.
            ShapeError: An item is not made of numbers.
        """
        route = _ROUTES[self.route]
        return read_items(reply, inputs, route.item_key, route.read_item)
