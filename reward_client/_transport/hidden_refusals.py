"""Refusals that a gateway hides behind its own failures, such as a bare 500 for each 4xx."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from reward_client._protocols.http import Request, Response
from reward_client._transport.known_requests import KnownRequests
from reward_client._transport.retry import Failure
from reward_client.errors import BadRequestError, StatusError

_MODELS = Request("GET", "/v1/models")
_REFUSED = (
    "A gateway sends this status in the place of each refusal, without its reason: read the log of "
    "the server."
)


class HiddenRefusals:
    """Tells a hidden refusal from a failure: the server answers others, and not a wrong request.

    A wrong request gets a 4xx from each server. If it gets a failure while a request that succeeded
    before succeeds again, the gateway hides refusals.

    Args:
        send: Sends a request, once.
        known: The requests that were answered.
    """

    def __init__(
        self, send: Callable[[Request], Awaitable[Response | Failure]], known: KnownRequests
    ) -> None:
        self._send = send
        self._known = known
        self._hides: bool | None = None

    @property
    def are_hidden(self) -> bool:
        """True if the gateway is known to hide refusals."""
        return self._hides is True

    async def look_behind(self, request: Request) -> bool:
        """Return whether a failed request was refused.

        Args:
            request: The request that failed.
        """
        if self._hides is False:
            return False
        known = self._known.best(request.path) or _MODELS
        if not isinstance(await self._send(known), Response):
            return False
        if self._hides is None:
            self._hides = _is_hidden(await self._send(_wrong(request)))
        return self.are_hidden


def as_refusal(failure: Failure) -> Failure:
    """Return a failure as the refusal that a gateway made it of."""
    error = failure.error
    if not isinstance(error, StatusError):
        return failure
    refusal = BadRequestError(
        f"HTTP {error.status}{f': {error.server_message}' if error.server_message else ''}. "
        f"{_REFUSED}",
        status=error.status,
        server_message=error.server_message,
        endpoint=error.endpoint,
        request_id=error.request_id,
    )
    return replace(failure, error=refusal, retried=False, away=False)


def _wrong(request: Request) -> Request:
    """Return a request to the same route that every server refuses."""
    if request.method == "GET":
        return Request("GET", f"{request.path}/reward-client")
    return Request("POST", request.path, {})


def _is_hidden(outcome: Response | Failure) -> bool:
    return isinstance(outcome, Failure) and outcome.may_hide_refusal
