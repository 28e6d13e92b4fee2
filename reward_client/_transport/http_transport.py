"""Requests to one server, with attempts, request IDs, the API key, and errors that advise."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import cast

import orjson

from reward_client._base.json_values import is_overfull
from reward_client._base.options import Limits, RetryPolicy
from reward_client._protocols.http import (
    IF_STARTING,
    MAX_DEATHS,
    RESTART_SECONDS,
    SERVER_FAILURES,
    Request,
    Response,
    item_id,
)
from reward_client._telemetry.observation import ObservedRequest
from reward_client._transport.backends.base import Backend, RawResponse
from reward_client._transport.binding import Binding, Repeat
from reward_client._transport.hidden_refusals import HiddenRefusals, as_refusal
from reward_client._transport.known_requests import KnownRequests
from reward_client._transport.network_errors import (
    NETWORK_ERROR_RULES,
    NetworkError,
    NetworkErrorKind,
)
from reward_client._transport.redaction import redact
from reward_client._transport.retry import Failure, retrying
from reward_client._transport.status_errors import (
    ErrorBody,
    error_kind,
    is_away,
    is_busy,
    is_retried,
    may_be_anyones,
    may_hide_refusal,
    read_error,
    retry_after,
)
from reward_client.errors import (
    EngineDeadError,
    InputError,
    ProtocolError,
    ResponseMismatchError,
    RewardClientError,
)

_logger = logging.getLogger("reward_client")

_FIRST_CONTACT_SECONDS = 5.0
"""The longest wait for a server that never answered: mostly its address is wrong."""

_MAX_FAILURES = 5
"""The attempts of a request that a server answers with failures, or breaks off."""

_TELLING_FAILURE = 2
"""The failure of a request from which the client also asks what the server answered before."""

_RESERVED_SLOTS = 8
"""The requests in flight that are reserved for scoring."""


class HttpTransport:
    """The `Transport` over a backend. For one event loop.

    Args:
        url: The server's base URL, for messages.
        backend: The HTTP library.
        headers: The headers of every request, the API key included.
        retry: The retry policy.
        limits: The limits; `max_concurrency` bounds the requests in flight.
        has_stand_in: Returns whether another replica can take over now. If so, a failing server
            gets no further attempts.
    """

    def __init__(
        self,
        url: str,
        backend: Backend,
        headers: Mapping[str, str],
        retry: RetryPolicy,
        limits: Limits,
        has_stand_in: Callable[[], bool],
    ) -> None:
        self.url = url
        self.has_stand_in = has_stand_in
        self.lost_at = -math.inf
        self.last_error: RewardClientError | None = None
        self.binding = Binding()
        self._succeeded_at = -math.inf
        self._fell_silent_at = -math.inf
        self._backend = backend
        self._headers = {"accept": "application/json", **headers}
        self._policy = retry
        self.time_binds = retry.attempts is None
        self._once = retry.model_copy(update={"attempts": 1})
        first = min(retry.budget, _FIRST_CONTACT_SECONDS)
        self._first_contact = retry.model_copy(update={"budget": first})
        self._has_answered = False
        self._unreachable = False
        self.known = KnownRequests(self._try)
        self.hidden_refusals = HiddenRefusals(self._try, self.known)
        self._warned_at = -math.inf
        slots = limits.max_concurrency
        self._slots = asyncio.Semaphore(slots)
        # Thousands of samples may wait for their tokens. If scoring requests waited behind them,
        # the server would first tokenize all samples and then score them, never both at once.
        self._preparing = asyncio.Semaphore(slots - min(_RESERVED_SLOTS, slots // 2))

    def take_over(self, earlier: HttpTransport) -> None:
        """Continue with what a transport of an event loop that has ended knew of the server."""
        self.lost_at = earlier.lost_at
        self.binding.take_over(earlier.binding)
        self.known.take_over(earlier.known)
        self._has_answered = earlier._has_answered
        self._unreachable = earlier._unreachable

    def mark_lost(self, began: float | None = None) -> None:
        """See `Transport`."""
        self.lost_at = max(self.lost_at, time.monotonic() if began is None else began)
        self.binding.forget()

    def mark_maybe_lost(self, failed_at: float) -> None:
        """Note before a late attempt that another server may have come up.

        A gateway hides that a server was down, but not that it was silent. So this says nothing
        about a server that was discovered after the failure and has answered ever since.

        Args:
            failed_at: When the attempt before failed, as a value of `time.monotonic`.
        """
        self._note_silence()
        self.mark_lost(max(failed_at, self._fell_silent_at))

    def warn_of_wait(self, failure: str, failing_since: float) -> None:
        """Log one warning for each time that the server is away for long.

        An attempt that failed before the last success says nothing about the server of now. A first
        contact fails within seconds, and its error says everything.

        Args:
            failure: The summary of the last failure.
            failing_since: When the first attempt failed, as a value of `time.monotonic`.
        """
        if self._has_answered and self._warned_at <= self._succeeded_at < failing_since:
            self._warned_at = time.monotonic()
            _logger.warning(
                "%s is away (%s). Requests wait for it up to %g s.",
                self.url,
                failure,
                self._policy.budget,
            )

    def is_connected_since(self, moment: float) -> bool:
        """See `Transport`."""
        return self._backend.is_connected_since(moment)

    def _note_silence(self) -> None:
        if time.monotonic() - self._succeeded_at > RESTART_SECONDS:
            self._fell_silent_at = self._succeeded_at

    async def send(self, request: Request) -> Response:
        """See `Transport`.

        If all attempts of one request fail to reach the server, each further request gets only one
        attempt until the server answers.
        """
        attempts = _Attempts(self, request)
        started = time.monotonic()
        outcome: Response | Failure = await attempts.next()
        if isinstance(outcome, Failure) and outcome.retried and not request.optional:
            # Only here: the retry object costs a fifth of a successful request.
            retry = retrying(self._current_policy(), spent=time.monotonic() - started)
            outcome = await retry(attempts.after(outcome))
        if isinstance(outcome, Response):
            return outcome
        if (
            outcome.network_error is not None
            and NETWORK_ERROR_RULES[outcome.network_error].server_lost
            and not request.optional
        ):
            self._unreachable = True
        error = outcome.error
        error.attempts = tuple(attempts.summaries[:-1])
        raise error

    def _current_policy(self) -> RetryPolicy:
        if self._unreachable:
            return self._once
        return self._policy if self._has_answered else self._first_contact

    @property
    def proxy(self) -> str | None:
        """See `Transport`."""
        return self._backend.proxy

    def _through(self) -> str:
        """Return a sentence that names the proxy, if there is one."""
        proxy = self._backend.proxy
        if proxy is None:
            return ""
        instead = (
            " NO_PROXY or Connection(trust_env=False) avoids it."
            if proxy.endswith("environment")
            else ""
        )
        return f" The request went through the proxy {proxy}.{instead}"

    async def _try(self, request: Request) -> Response | Failure:
        """Send a request, once, or twice if the connection was closed before the response."""
        body = None if request.body is None else _encode(request.body)
        outcome = await self.send_once(request, body, new_request_id())
        if _is_of_connection(outcome):
            outcome = await self.send_once(request, body, new_request_id())
        return outcome.response if isinstance(outcome, Repeat) else outcome

    async def aclose(self) -> None:
        """Close the connections."""
        await self._backend.aclose()

    def drop(self) -> None:
        """See `Backend`."""
        self._backend.drop()

    async def send_once(
        self, request: Request, body: bytes | None, request_id: str, *, resends: int = 0
    ) -> Response | Failure | Repeat:
        """Send one request; return a failure instead of raising it, so that it can be retried.

        The connection is closed after a failure, and after a response that may be another's.

        Args:
            request: The request.
            body: Its body as bytes.
            request_id: The ID of this attempt.
            resends: The number of earlier attempts that failed.
        """
        with ObservedRequest(request.method, self.url, request.path, resends) as observed:
            outcome = await self._exchange(request, body, request_id, observed)
            if isinstance(outcome, Failure):
                observed.error = outcome.error
        return outcome

    async def _exchange(
        self, request: Request, body: bytes | None, request_id: str, observed: ObservedRequest
    ) -> Response | Failure | Repeat:
        headers = {**self._headers, "x-request-id": request_id}
        if body is not None:
            headers["content-type"] = "application/json"
            if request.id_key is not None:
                body = _named(body, request.id_key, request.id_count, request_id)
        endpoint = f"{request.method} {self.url}{request.path}"
        began = time.monotonic()
        try:
            async with self._preparing if request.prepares else nullcontext(), self._slots:
                began = observed.begin(headers)
                response = await self._backend.send(request.method, request.path, body, headers)
                observed.answered(response.status)
        except NetworkError as error:
            return self._failed_by_network(error, began, endpoint, request_id)
        self._unreachable = False
        self._has_answered = True
        read = self._read(response, endpoint, request_id)
        if isinstance(read, Response):  # a gateway sends errors and pages while its server is down
            self._note_silence()
            self._succeeded_at = time.monotonic()
        outcome = (
            self.binding.check(request, body, response, read)
            if isinstance(read, Response)
            else read
        )
        if not isinstance(outcome, Response):
            await response.drop()  # its next response may be one late
        return outcome

    def _read(self, response: RawResponse, endpoint: str, request_id: str) -> Response | Failure:
        if is_overfull(response.body):
            return Failure(
                ProtocolError(
                    "Cannot read the response: it holds millions of values. Rewards are few: does "
                    "base_url point at the server of a reward model?",
                    endpoint=endpoint,
                    request_id=request_id,
                ),
                summary="a response with too many values",
                retried=False,
            )
        payload = _json_or_none(response.body)
        # The body decides before the status: vLLM up to 0.17.1 sends some errors with HTTP 200.
        error = read_error(response.body, payload, response.sent, failed=not response.succeeded)
        if response.succeeded:
            if error is None:
                return Response(payload, endpoint, request_id)
            if payload is None:
                return Failure(
                    ProtocolError(
                        f"HTTP {response.status} without JSON: {error.message!r}. "
                        "Does base_url point at the model's server? Does a proxy cut responses?"
                        f"{self._through()}",
                        endpoint=endpoint,
                        request_id=request_id,
                    ),
                    summary="a response that is not JSON",
                    retried=False,
                    may_be_anyones=True,
                )
        return self._failed_by_status(response, error or ErrorBody(""), endpoint, request_id)

    def _failed_by_status(
        self, response: RawResponse, error: ErrorBody, endpoint: str, request_id: str
    ) -> Failure:
        status = error.code or (500 if response.succeeded else response.status)
        wait = retry_after(response.headers)
        busy = is_busy(status, error, wait)
        kind, hint = error_kind(status, error, busy=busy)
        if issubclass(kind, EngineDeadError):
            self.mark_lost()
        message = error.message
        return Failure(
            kind(
                f"HTTP {status}{f': {message}' if message else ' with an empty body'}. {hint}"
                f"{self._through()}",
                status=status,
                server_message=message,
                retry_after=wait,
                endpoint=endpoint,
                request_id=request_id,
            ),
            summary=f"HTTP {status}",
            retried=is_retried(kind, status, busy=busy),
            away=is_away(kind, status, busy=busy),
            only_time_helps=busy,
            may_be_anyones=may_be_anyones(kind),
            may_hide_refusal=may_hide_refusal(kind, status, error, busy=busy),
        )

    def _failed_by_network(
        self, error: NetworkError, began: float, endpoint: str, request_id: str
    ) -> Failure:
        rule = NETWORK_ERROR_RULES[error.kind]
        if rule.server_lost:
            self.mark_lost(began)
        reason = redact(str(error), self._headers)[:200]
        message = f"{reason[:1].upper()}{reason[1:]}. {rule.hint}{self._through()}"
        if rule.server_lost and not self._has_answered:
            message += IF_STARTING
        return Failure(
            rule.error(message, endpoint=endpoint, request_id=request_id),
            summary=error.kind.value,
            retried=rule.retried,
            network_error=error.kind,
            away=rule.server_lost,
            only_time_helps=rule.server_lost,
        )


class _Attempts:
    """The attempts of one request, with a summary of each failure."""

    def __init__(self, transport: HttpTransport, request: Request) -> None:
        self._transport = transport
        self._request = request
        self._body = None if request.body is None else _encode(request.body)
        self._was_repeated = False
        self._bare_failures = 0
        self._doubtful = 0
        self._deaths = 0
        self._failures = 0
        self._failing_since = 0.0
        self._failed_at = 0.0
        self._last: Failure | None = None
        self._is_away = False
        self.summaries: list[str] = []

    def after(self, first: Failure) -> Callable[[], Awaitable[Response | Failure]]:
        """Return a function that returns the first failure, and then makes further attempts."""
        earlier: list[Failure] = [first]

        async def attempt() -> Response | Failure:
            return earlier.pop() if earlier else await self.next()

        return attempt

    async def next(self) -> Response | Failure:
        """Make one attempt."""
        if self._last is not None and time.monotonic() - self._failing_since > RESTART_SECONDS:
            self._transport.mark_maybe_lost(self._failed_at)
            if self._is_away and self._transport.time_binds:
                self._transport.warn_of_wait(self._last.summary, self._failing_since)
        last, known = self._last, self._transport.known
        is_answered = False
        if last is not None and self._has_witness(last):
            is_answered = await known.are_answered(self._request.path)
            if not is_answered:
                return self._as_away(last)
        outcome = await self._attempt(is_answered=is_answered)
        if isinstance(outcome, Response):
            known.note_success(self._request, self._body)
            return outcome
        return await self._judged(outcome, is_answered=is_answered)

    async def _attempt(self, *, is_answered: bool) -> Response | Failure:
        outcome = await self._send()
        if not self._was_repeated and _is_of_connection(outcome):
            # Mostly an idle connection that the server had closed: repeat at once, and only once.
            self._was_repeated = True
            outcome = await self._send()
        if isinstance(outcome, Failure) and outcome.may_hide_refusal:
            self._bare_failures += 1
            refusals = self._transport.hidden_refusals
            if is_answered or self._bare_failures == _TELLING_FAILURE or refusals.are_hidden:
                return await self._explained(outcome)
        return outcome

    def _has_witness(self, last: Failure) -> bool:
        """Return True if the next attempt needs a witness, and there is one."""
        if self._doubtful < _TELLING_FAILURE or not self._transport.time_binds:
            return False
        known, path = self._transport.known, self._request.path
        # If only one route of a server is away, such as that of a model that is being loaded, the
        # other routes say nothing about it.
        return known.has(path) or (not last.away and known.best(path) is not None)

    def _as_away(self, failure: Failure) -> Failure:
        self._failed_at = time.monotonic()
        self._is_away = True
        return replace(failure, away=True, retried=not self._transport.has_stand_in())

    async def _judged(self, failure: Failure, *, is_answered: bool) -> Failure:
        """Decide whether another attempt follows.

        Args:
            failure: The failure of the attempt.
            is_answered: True if the server answered a known request just before.
        """
        transport = self._transport
        self._is_away = failure.away and not is_answered
        if await self._is_anyones(failure):
            self._doubtful = _TELLING_FAILURE
            return self._as_away(failure)
        if isinstance(failure.error, EngineDeadError) or self._may_have_killed(failure):
            self._deaths += 1
            if self._deaths == MAX_DEATHS:
                return replace(failure, retried=False)
        if failure.is_doubtful:
            self._doubtful += 1
            self._failures += not self._is_away
            if self._failures == _MAX_FAILURES and transport.time_binds:
                return replace(failure, retried=False)
        if isinstance(failure.error, SERVER_FAILURES):
            return replace(failure, retried=failure.retried and not transport.has_stand_in())
        return failure

    def _may_have_killed(self, failure: Failure) -> bool:
        """Return True if the connection ended before the response, and not because it was idle."""
        ended = (NetworkErrorKind.RESET, NetworkErrorKind.CUT)
        was_cut = self.summaries[-2:-1] in [[kind.value] for kind in ended]
        return self._request.may_kill and (
            failure.network_error in ended
            or (failure.network_error is NetworkErrorKind.REFUSED and was_cut)
        )

    async def _is_anyones(self, failure: Failure) -> bool:
        """Return True for a refusal that comes from whoever answers while the server is away."""
        transport, path = self._transport, self._request.path
        return (
            failure.may_be_anyones
            and not failure.retried
            and transport.time_binds
            and transport.known.has(path)
            and not transport.has_stand_in()
            and not await transport.known.are_answered(path)
        )

    async def _explained(self, failure: Failure) -> Response | Failure:
        """Find out whether the server refuses the request, behind a gateway that hides refusals.

        The first failure is mostly of the moment, unless the gateway is known to hide refusals.
        """
        if not await self._transport.hidden_refusals.look_behind(self._request):
            return failure
        # Others are answered now, so that a failure of the moment is over.
        again = await self._send()
        if _is_of_connection(again):
            again = await self._send()
        if isinstance(again, Failure) and again.may_hide_refusal:
            return as_refusal(again)
        return again

    async def _send(self) -> Response | Failure:
        binding = self._transport.binding
        return await binding.send(self._request, self._body, self._send_once)

    async def _send_once(self, request: Request) -> Response | Failure | Repeat:
        # vLLM up to 0.13 refuses an ID that is still in flight, so each attempt has its own.
        request_id = new_request_id()
        body = self._body if request.body is self._request.body else _encode(request.body or {})
        outcome = await self._transport.send_once(
            request, body, request_id, resends=len(self.summaries)
        )
        summary = outcome.summary if isinstance(outcome, Failure) else "ok"
        _logger.debug(
            "%s %s: %s (%s)", self._request.method, self._request.path, summary, request_id
        )
        if isinstance(outcome, Failure):
            self._failed_at = time.monotonic()
            if not self.summaries:
                self._failing_since = self._failed_at
            self._last = outcome
            self._transport.last_error = outcome.error
            self.summaries.append(summary)
        return outcome


def new_request_id() -> str:
    """Return an ID that no other request has."""
    return f"rc-{uuid.uuid4().hex}"


def _is_of_connection(outcome: Response | Failure | Repeat) -> bool:
    """Return True if only the connection may be at fault, which is closed now."""
    return (
        isinstance(outcome, Failure)
        and outcome.retried
        and (
            outcome.network_error is NetworkErrorKind.RESET
            or isinstance(outcome.error, ResponseMismatchError)
        )
    )


def _encode(body: dict[str, object]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise InputError(f"Cannot write the sample as JSON: {error}.") from error


def _named(body: bytes, key: str, count: int | None, request_id: str) -> bytes:
    """Write the ID of an attempt into its body, or that of each item."""
    ids = request_id if count is None else [item_id(request_id, place) for place in range(count)]
    return b"%b,%b" % (orjson.dumps({key: ids})[:-1], body[1:])


def _json_or_none(body: bytes) -> object:
    try:
        return cast("object", orjson.loads(body))
    except ValueError:
        if b"NaN" not in body and b"Infinity" not in body:
            return None
    # Python servers write NaN and Infinity in JSON, which orjson refuses. They become null here, so
    # that the reader of the response can name them. Nothing else passes that orjson would refuse.
    try:
        return cast("object", orjson.loads(orjson.dumps(json.loads(body))))
    except (ValueError, TypeError, RecursionError):
        return None
