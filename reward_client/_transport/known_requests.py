"""Requests that a server has answered: sent again, they tell whether it answers now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from reward_client._protocols.http import Request, Response
from reward_client._transport.retry import Failure

_LONGEST_KEPT = 16_384


class KnownRequests:
    """Keeps one answered request for each route.

    Whoever answers for a server that is away (a port forwarder, a router, an ingress) fails every
    request: by a reset, or by any status. A server that is there fails only some.

    Args:
        send: Sends a request, once.
    """

    def __init__(self, send: Callable[[Request], Awaitable[Response | Failure]]) -> None:
        self._send = send
        self._by_path: dict[str, Request] = {}

    def take_over(self, earlier: KnownRequests) -> None:
        """Continue with what was answered in an event loop that has ended."""
        self._by_path.update(earlier._by_path)

    def note_success(self, request: Request, body: bytes | None) -> None:
        """Keep the first request to each route that was answered, if it is short."""
        if request.path not in self._by_path and len(body or b"") <= _LONGEST_KEPT:
            self._by_path[request.path] = replace(request, prepares=False)

    def has(self, path: str) -> bool:
        """Return True if a request to this route was answered."""
        return path in self._by_path

    def best(self, path: str) -> Request | None:
        """Return the request that tells most about a route: a gateway has to forward it."""
        return next(iter(self._ranked(path)), None)

    async def are_answered(self, path: str) -> bool:
        """Return whether the server answers now what it answered before.

        A refusal counts as an answer, except one that anybody may send who is not the server. Then
        the requests to the other routes decide: another model may have come up.

        Args:
            path: The route whose request is sent first.
        """
        for known in self._ranked(path):
            outcome = await self._send(known)
            if isinstance(outcome, Response):
                return True
            if not outcome.may_be_anyones:
                return not outcome.retried
        return False

    def _ranked(self, path: str) -> list[Request]:
        # A gateway may answer a GET itself, above all the list of models.
        return sorted(
            self._by_path.values(), key=lambda each: (each.path != path, each.method == "GET")
        )
