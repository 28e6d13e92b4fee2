"""Which request each reply answered, to find replies that a proxy repeats, delays or caches."""

from __future__ import annotations

from dataclasses import dataclass

from reward_client._protocols.http import Request

_SIZE = 8192
"""Replies that are remembered: those of the seconds in which a connection may lie idle."""
_MAX_LANDMARKS = 2
_MAX_LANDMARK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Landmark:
    """An early request to a route.

    Attributes:
        request: The request.
        body: Its body as bytes.
        reply: The hash of its reply.
    """

    request: Request
    body: bytes | None
    reply: int


class Ledger:
    """Remembers replies and requests by their hashes.

    Only pooled output names its request. But a reply that is one request late, comes twice, or
    comes from a cache has come before, for another request. Some requests truly have one reply,
    such as two texts that differ in a space which the template strips.
    """

    def __init__(self) -> None:
        self._owners: dict[int, int] = {}
        self._shared: set[tuple[int, int]] = set()
        self._landmarks: dict[str, list[Landmark]] = {}

    def enter(self, request: Request, body: bytes | None, reply: int) -> bool:
        """Note a reply; return False if it has answered another request before.

        Args:
            request: The request.
            body: The body of the request.
            reply: The hash of the reply.
        """
        asked = _key(request, body)
        if self._owners.setdefault(reply, asked) != asked:
            return (asked, reply) in self._shared
        if len(self._owners) > _SIZE:
            del self._owners[next(iter(self._owners))]
        known = self._landmarks.setdefault(request.path, [])
        if len(known) < _MAX_LANDMARKS and len(body or b"") <= _MAX_LANDMARK_BYTES:
            _add(known, Landmark(request, body, reply))
        return True

    def holds(self, request: Request, body: bytes | None, reply: int) -> bool:
        """Return False if the reply turned out to answer another request."""
        asked = _key(request, body)
        return self._owners.get(reply, asked) == asked or (asked, reply) in self._shared

    def confirm(self, request: Request, body: bytes | None, reply: int) -> None:
        """Note that the reply is this request's, though it answered another one before."""
        asked = _key(request, body)
        if len(self._shared) >= _SIZE:
            self._shared.clear()
        self._shared.add((asked, reply))
        self._owners[reply] = asked

    def landmark(self, path: str, reply: int) -> Landmark | None:
        """Return an early request to this route that had another reply."""
        known = self._landmarks.get(path, ())
        return next((each for each in known if each.reply != reply), None)


def _key(request: Request, body: bytes | None) -> int:
    return hash((request.path, body))


def _add(known: list[Landmark], new: Landmark) -> None:
    if all(each.reply != new.reply and each.body != new.body for each in known):
        known.append(new)
