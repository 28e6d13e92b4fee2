"""Routes that a gateway may hide, and requests that rewards do not depend on."""

from __future__ import annotations

from dataclasses import replace

from reward_client._protocols.http import SERVER_FAILURES, Request, Response, Transport
from reward_client.errors import (
    AuthenticationError,
    BadRequestError,
    ModelNotFoundError,
    ProtocolError,
    RateLimitedError,
    RewardClientError,
    RewardTimeoutError,
    RouteNotFoundError,
    StatusError,
)

MODELS_PATH = "/v1/models"

_ATTEMPTS = 3
_OF_THE_MOMENT = (*SERVER_FAILURES, RateLimitedError)
"""Errors of a server that restarts or is busy, and of some gateways for a route that they hide."""


def may_hide_route(error: RewardClientError) -> bool:
    """Return True for an error that a gateway may send for a route that it hides.

    It refuses the key that the server accepts elsewhere, redirects to a login, or sends a page.
    """
    if isinstance(error, StatusError) and 300 <= error.status < 400:
        return True
    hidden = (RouteNotFoundError, ModelNotFoundError, AuthenticationError)
    return isinstance(error, hidden) or type(error) is ProtocolError


def is_refusal(error: StatusError) -> bool:
    """Return True for the 4xx of a server that always refuses such a request."""
    return not isinstance(error, _OF_THE_MOMENT)


async def response_if_any(transport: Transport, request: Request) -> Response | None:
    """Return the response; None if a gateway hides the route.

    Args:
        transport: The connection to the server, which has answered before.
        request: The request.

    Raises:
        RewardClientError: As `response_or_error`.
    """
    outcome = await response_or_error(transport, request)
    return outcome if isinstance(outcome, Response) else None


async def response_or_error(transport: Transport, request: Request) -> Response | RewardClientError:
    """Return the response, or the error of the last attempt.

    A failure of the moment counts as hidden only if the server answers elsewhere between the
    attempts. A server whose connection is lost meanwhile is discovered again anyway.

    Args:
        transport: The connection to the server, which has answered before.
        request: The request.

    Raises:
        RewardClientError: If the server stays away.
    """
    once = replace(request, optional=True)
    outcome = await _outcome(transport, once)
    for _ in range(_ATTEMPTS - 1):
        is_slow = isinstance(outcome, RewardTimeoutError)  # another attempt takes as long
        if is_slow or not isinstance(outcome, _OF_THE_MOMENT):
            break
        await _wait_until_back(transport)
        outcome = await _outcome(transport, once)
    return outcome


async def _outcome(transport: Transport, request: Request) -> Response | RewardClientError:
    try:
        return await transport.send(request)
    except RewardClientError as error:
        return error


async def _wait_until_back(transport: Transport) -> None:
    """Wait for a server that is away or busy.

    Raises:
        RewardClientError: As `Transport.send`.
    """
    try:
        await transport.send(Request("GET", MODELS_PATH))
    except (RouteNotFoundError, BadRequestError):
        return  # a gateway hides this one too
