"""Which request each reply answered, to find replies that a proxy repeats, delays or caches."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, repeat
from typing import NamedTuple, cast

import orjson

from reward_client._base.json_values import as_mapping
from reward_client._protocols.http import Request

_SIZE = 8192
"""Replies that are remembered: those of the seconds in which a connection may lie idle."""
_END_OF_THOUGHTS = "</think>"
SYSTEM_ROLES = ("system", "developer")


class Asked(NamedTuple):
    """A request, by hashes.

    Attributes:
        exact: Equal for requests that truly have one reply on most servers: messages that differ in
            outer spaces, which nearly all templates strip.
        spoken: Equal also for messages that differ in thoughts, which some templates drop.
        turns: The messages in the same way, without those of the system, which some templates drop.
    """

    exact: int
    spoken: int
    turns: tuple[int, ...] = ()


class Ledger:
    """Remembers replies and requests by their hashes.

    Only pooled output names its request. But a reply that is one request late, comes twice, or
    comes from a cache has come before, for another request.
    """

    def __init__(self) -> None:
        self._owners: dict[int, Asked] = {}
        self._shared: set[tuple[int, int]] = set()
        self._drops_thoughts = False

    def is_new(self, asked: Asked, reply: int) -> bool:
        """Return False if a reply has answered another request before.

        Args:
            asked: The request.
            reply: The hash of the reply.
        """
        owner = self._owners.get(reply, asked)
        return self._is_same(owner, asked) or (asked.exact, reply) in self._shared

    def differing(self, asked: Asked, reply: int) -> list[int]:
        """Return which turns differ from those of the request that a reply has answered before.

        Args:
            asked: The request.
            reply: The hash of the reply.
        """
        owner = self._owners.get(reply, asked)
        if len(owner.turns) > len(asked.turns) > 0:
            return [len(asked.turns) - 1]  # its end is missing here
        theirs = chain(owner.turns, repeat(None))
        pairs = zip(asked.turns, theirs, strict=False)
        return [place for place, (turn, other) in enumerate(pairs) if turn != other]

    def enter(self, asked: Asked, reply: int) -> None:
        """Note that a reply is this request's."""
        self._owners[reply] = asked
        if len(self._owners) > _SIZE:
            del self._owners[next(iter(self._owners))]

    def share(self, asked: Asked, reply: int) -> None:
        """Note that a reply is this request's, too."""
        owner = self._owners.get(reply)
        if owner is not None and owner.spoken == asked.spoken:
            self._drops_thoughts = True
        if len(self._shared) >= _SIZE:
            self._shared.clear()
        self._shared.add((asked.exact, reply))

    def _is_same(self, one: Asked, other: Asked) -> bool:
        if one.exact == other.exact:
            return True
        return self._drops_thoughts and one.spoken == other.spoken


def asked_by(request: Request, body: bytes | None) -> Asked:
    """Return the hashes of a request.

    Args:
        request: The request.
        body: Its body as bytes.
    """
    fields = request.body or {}
    messages = fields.get("messages")
    if not isinstance(messages, list):
        exact = hash((request.path, body))
        return Asked(exact, exact)
    rest = orjson.dumps({key: value for key, value in fields.items() if key != "messages"})
    turns = [_stripped(as_mapping(turn) or {}) for turn in cast("list[object]", messages)]
    written = spoken = list(map(orjson.dumps, turns))
    if _END_OF_THOUGHTS.encode() in (body or b""):
        spoken = [orjson.dumps(_without_thoughts(turn)) for turn in turns]
    return Asked(
        hash((request.path, rest, *written)),
        hash((request.path, rest, *spoken)),
        tuple(
            hash(said)
            for turn, said in zip(turns, spoken, strict=True)
            if turn.get("role") not in SYSTEM_ROLES
        ),
    )


def _stripped(message: Mapping[str, object]) -> Mapping[str, object]:
    content = message.get("content")
    return {**message, "content": content.strip()} if isinstance(content, str) else message


def _without_thoughts(message: Mapping[str, object]) -> Mapping[str, object]:
    content = message.get("content")
    if not isinstance(content, str) or _END_OF_THOUGHTS not in content:
        return message
    return {**message, "content": content.rpartition(_END_OF_THOUGHTS)[2].strip()}
