"""Binds responses to requests, as proxies mix up, repeat, delay and cache responses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from reward_client._base.json_values import as_mapping
from reward_client._protocols.http import Request, Response
from reward_client._transport.backends.base import RawResponse
from reward_client._transport.ledger import Ledger
from reward_client._transport.retry import Failure
from reward_client.errors import ResponseMismatchError

_MAX_ASKED = 5
"""How often a request is asked again whose response has answered another one."""

# vLLM builds the ID of a pooling response from the request ID, and can be told to return it.
_REQUEST_ID = re.compile(r"rc-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Repeat:
    """A response whose bytes have answered another request before."""

    response: Response


_Send = Callable[[Request], Awaitable[Response | Failure | Repeat]]


class Binding:
    """Binds the responses of one server to their requests.

    A response that names its request is proven by that. The others are entered in a ledger: one
    that has answered another request before is asked for again.
    """

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._in_doubt: set[asyncio.Future[None]] = set()
        self._mixes_up = False

    def take_over(self, earlier: Binding) -> None:
        """Continue with what was known in an event loop that has ended."""
        self._ledger = earlier._ledger

    def forget(self) -> None:
        """Forget all responses: another server may give the same ones."""
        self._ledger = Ledger()

    async def check(
        self, request: Request, body: bytes | None, raw: RawResponse, response: Response
    ) -> Response | Failure | Repeat:
        """Return the response, unless it may be the answer to another request.

        Args:
            request: The request.
            body: Its body as bytes.
            raw: The response as it came.
            response: The same, parsed.
        """
        named = _named_requests(response.payload, raw.headers)
        for other in named - {response.request_id}:
            return _mismatch(f"The response belongs to another request, {other}.", response)
        if named or _writes(request):
            return response
        if not raw.is_only:
            return _mismatch("A second response followed on the connection.", response)
        if self._mixes_up:
            # The response that this one may repeat was sent before: it is read before.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        unnamed = replace(response, fingerprint=hash(raw.body))
        is_new = self._ledger.enter(request, body, unnamed.fingerprint)
        return unnamed if is_new else Repeat(unnamed)

    async def send(
        self, request: Request, body: bytes | None, send_once: _Send
    ) -> Response | Failure:
        """Send a request until its response is its own.

        Args:
            request: The request.
            body: Its body as bytes.
            send_once: Sends a request, once.
        """
        first = await send_once(request)
        outcome = (
            await self._resolve(request, body, first.response, send_once)
            if isinstance(first, Repeat)
            else first
        )
        for _ in range(_MAX_ASKED):
            if isinstance(outcome, Failure) or outcome.is_named or not self._in_doubt:
                return outcome
            # Somebody else got a wrong response, so this one may be theirs.
            await asyncio.wait(tuple(self._in_doubt))
            if self._ledger.holds(request, body, outcome.fingerprint):
                return outcome
            outcome = await self._resolve(request, body, outcome, send_once)
        if isinstance(outcome, Failure) or self._ledger.holds(request, body, outcome.fingerprint):
            return outcome
        return _repeats(outcome)

    async def _resolve(
        self, request: Request, body: bytes | None, repeat: Response, send_once: _Send
    ) -> Response | Failure:
        """Find the response to a request in the place of one that is in doubt."""
        self._mixes_up = True
        found: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_doubt.add(found)
        try:
            return await self._ask_again(request, body, repeat, send_once)
        finally:
            self._in_doubt.remove(found)
            found.set_result(None)

    async def _ask_again(
        self, request: Request, body: bytes | None, repeat: Response, send_once: _Send
    ) -> Response | Failure:
        """Ask again: two requests that truly have one response get it again.

        Before, a third request shows that the route tells requests apart.
        """
        for _ in range(_MAX_ASKED):
            if not await self._tells_apart(request.path, repeat.fingerprint, send_once):
                continue
            again = await send_once(_first_in_line(request))
            if not isinstance(again, Repeat):
                return again
            if again.response.fingerprint == repeat.fingerprint:
                self._ledger.confirm(request, body, repeat.fingerprint)
                return again.response
            repeat = again.response
        return _repeats(repeat)

    async def _tells_apart(self, path: str, reply: int, send_once: _Send) -> bool:
        """Return False if a request to this route that had another reply gets a wrong one now."""
        landmark = self._ledger.landmark(path, reply)
        if landmark is None:
            return True
        outcome = await send_once(_first_in_line(landmark.request))
        if isinstance(outcome, Failure):
            return outcome.network_error is None  # another server may refuse the request
        return isinstance(outcome, Response) or outcome.response.fingerprint == landmark.reply


def _named_requests(payload: object, headers: Mapping[str, str]) -> set[str]:
    """Return the IDs of requests of this client that a response names."""
    texts = (as_mapping(payload) or {}).get("id"), headers.get("x-request-id")
    found = [_REQUEST_ID.search(text) for text in texts if isinstance(text, str)]
    return {match[0] for match in found if match is not None}


def _writes(request: Request) -> bool:
    """Return True for a request whose response is a text: different prompts get equal ones."""
    limit = (request.body or {}).get("max_tokens")
    return isinstance(limit, int) and limit > 1


def _mismatch(reason: str, response: Response) -> Failure:
    return Failure(
        response.error(
            ResponseMismatchError, f"{reason} A proxy mixes up, repeats or caches responses."
        ),
        summary="a response to another request",
        retried=True,
    )


def _repeats(response: Response) -> Failure:
    failure = _mismatch("The response has answered another request before.", response)
    return replace(failure, retried=False)


def _first_in_line(request: Request) -> Request:
    """Return the request, so that it does not queue behind others that only prepare."""
    return replace(request, prepares=False)
