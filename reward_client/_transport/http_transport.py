"""One call to one server: attempts, request ids, the key, and errors that say what to do."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import cast

import orjson

from reward_client._base.json_values import as_mapping
from reward_client._base.options import Limits, RetryPolicy
from reward_client._protocols.http import RESTART_SECONDS, SERVER_FAILURES, Request, Response
from reward_client._transport.backends.base import Backend, RawResponse
from reward_client._transport.network_errors import FAULT_RULES, Fault, WireFaultError
from reward_client._transport.redaction import redact
from reward_client._transport.retry import Failure, retrying
from reward_client._transport.status_errors import (
    ErrorBody,
    error_kind,
    is_retried,
    read_error,
    retry_after,
)
from reward_client.errors import (
    EngineDeadError,
    InputError,
    ModelNotFoundError,
    ProtocolError,
    ResponseMismatchError,
)

_logger = logging.getLogger("reward_client")

_SHOWN_CHARACTERS = 200

_KEPT_FREE = 8
"""Requests in flight that are kept free for scoring."""

# As made below. vLLM builds the id of a pooling reply from it, and can be told to send it back.
_REQUEST_ID = re.compile(r"rc-[0-9a-f]{32}")

_MAX_DEATHS = 2
"""How many engine deaths one call may see: at the second one its input is the suspect."""


class HttpTransport:
    """Implements `reward_client.calls.Transport` over a wire; belongs to one event loop.

    Args:
        url: The server's base URL, for messages.
        backend: Sends the bytes.
        headers: Sent with every call, the API key among them.
        retry: The retry policy.
        limits: Its `max_concurrency` bounds the requests in flight.
        has_stand_in: Whether another server can take over now: then a failing one is not waited
            for.
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
        self.epoch = 0
        self._backend = backend
        self._headers = {"accept": "application/json", **headers}
        self._policy = retry
        self._once = retry.model_copy(update={"attempts": 1})
        self._unreachable = False
        most = limits.max_concurrency
        self._slots = asyncio.Semaphore(most)
        # Thousands may wait to be tokenized: what is ready to be scored must not wait behind them,
        # or the server tokenizes first and scores afterwards, and never does both.
        self._preparing = asyncio.Semaphore(most - min(_KEPT_FREE, most // 2))

    def mark_lost(self) -> None:
        """See `Transport`."""
        self.epoch += 1

    async def call(self, call: Request) -> Response:
        """See `Transport`.

        A server that was not to be reached through all attempts of a call is not waited for by each
        further call as well: they get one attempt, until it answers.
        """
        attempts = _Attempts(self, call)
        policy, started = self._once if self._unreachable else self._policy, time.monotonic()
        outcome: Response | Failure = await attempts.next()
        if isinstance(outcome, Failure) and outcome.retried:
            # Begun only here: it costs a fifth of a call that succeeds.
            retry = retrying(policy, spent=time.monotonic() - started)
            outcome = await retry(attempts.from_the(outcome))
        if isinstance(outcome, Response):
            return outcome
        if outcome.fault is not None and FAULT_RULES[outcome.fault].server_lost:
            self._unreachable = True
        error = outcome.error
        error.attempts = tuple(attempts.summaries[:-1])
        raise error

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._backend.aclose()

    async def send(self, call: Request, body: bytes | None, request_id: str) -> Response | Failure:
        """One request; what it met is returned, never raised, so that the cause can be weighed."""
        headers = {**self._headers, "x-request-id": request_id}
        if body is not None:
            headers["content-type"] = "application/json"
        endpoint = f"{call.method} {self.url}{call.path}"
        try:
            async with self._preparing if call.prepares else nullcontext(), self._slots:
                response = await self._backend.send(call.method, call.path, body, headers)
        except WireFaultError as fault:
            return self._failed_on_the_wire(fault, endpoint, request_id)
        self._unreachable = False
        return self._read(response, endpoint, request_id)

    def _read(self, response: RawResponse, endpoint: str, request_id: str) -> Response | Failure:
        payload = _json_or_none(response.body)
        # The body comes before the status: vLLM up to 0.17.1 answers some errors with HTTP 200.
        error = read_error(response.body, payload, response.sent)
        if response.succeeded:
            if error is None:
                other = _other_request(payload, response.headers, request_id)
                if other is not None:
                    return _answer_to(other, endpoint, request_id)
                return Response(payload, endpoint, request_id)
            if payload is None:
                return Failure(
                    ProtocolError(
                        f"HTTP {response.status} without JSON: {error.message!r}. "
                        "Does base_url point at a vLLM server, and is a proxy cutting replies?",
                        endpoint=endpoint,
                        request_id=request_id,
                    ),
                    summary="a reply that is not JSON",
                    retried=False,
                )
        return self._failed_by_status(response, error or ErrorBody(""), endpoint, request_id)

    def _failed_by_status(
        self, response: RawResponse, error: ErrorBody, endpoint: str, request_id: str
    ) -> Failure:
        status = error.code or (500 if response.succeeded else response.status)
        kind, advice = error_kind(status, error)
        if issubclass(kind, EngineDeadError | ModelNotFoundError):
            self.mark_lost()
        said = error.message
        return Failure(
            kind(
                f"HTTP {status}{f': {said}' if said else ' with an empty body'}. {advice}",
                status=status,
                server_message=said,
                retry_after=retry_after(response.headers),
                endpoint=endpoint,
                request_id=request_id,
            ),
            summary=f"HTTP {status}",
            retried=is_retried(kind, status),
        )

    def _failed_on_the_wire(self, error: WireFaultError, endpoint: str, request_id: str) -> Failure:
        rule = FAULT_RULES[error.fault]
        if rule.server_lost:
            self.mark_lost()
        reason = redact(str(error), self._headers)[:_SHOWN_CHARACTERS]
        message = f"{reason[:1].upper()}{reason[1:]}. {rule.advice}"
        return Failure(
            rule.error(message, endpoint=endpoint, request_id=request_id),
            summary=error.fault.value,
            retried=rule.retried,
            fault=error.fault,
        )


class _Attempts:
    """The attempts of one call, and what they met."""

    def __init__(self, transport: HttpTransport, call: Request) -> None:
        self._caller = transport
        self._call = call
        self._body = None if call.body is None else _encode(call.body)
        self._was_reset = False
        self._deaths = 0
        self._failing_since = 0.0
        self.summaries: list[str] = []

    def from_the(self, first: Failure) -> Callable[[], Awaitable[Response | Failure]]:
        """All attempts, of which the first was made already."""
        met: list[Failure] = [first]

        async def attempt() -> Response | Failure:
            return met.pop() if met else await self.next()

        return attempt

    async def next(self) -> Response | Failure:
        """One attempt."""
        if self.summaries and time.monotonic() - self._failing_since > RESTART_SECONDS:
            # Another may answer by now: a gateway hides that the first one refused meanwhile.
            self._caller.mark_lost()
        outcome = await self._send()
        if not self._was_reset and _is_reset(outcome):
            # Mostly an idle connection that the server had closed already: at once, once.
            self._was_reset = True
            outcome = await self._send()
        if isinstance(outcome, Failure) and isinstance(outcome.error, EngineDeadError):
            self._deaths += 1
            if self._deaths == _MAX_DEATHS:
                return Failure(outcome.error, outcome.summary, retried=False)
        if isinstance(outcome, Failure) and isinstance(outcome.error, SERVER_FAILURES):
            return replace(outcome, retried=outcome.retried and not self._caller.has_stand_in())
        return outcome

    async def _send(self) -> Response | Failure:
        # vLLM up to 0.13 refuses an id that is still in flight there, so each attempt has its own.
        request_id = f"rc-{uuid.uuid4().hex}"
        outcome = await self._caller.send(self._call, self._body, request_id)
        summary = outcome.summary if isinstance(outcome, Failure) else "ok"
        _logger.debug("%s %s: %s (%s)", self._call.method, self._call.path, summary, request_id)
        if isinstance(outcome, Failure):
            if not self.summaries:
                self._failing_since = time.monotonic()
            self.summaries.append(summary)
        return outcome


def _other_request(payload: object, headers: Mapping[str, str], request_id: str) -> str | None:
    """The request of ours that a reply belongs to, if it says that it is not this one."""
    said = (as_mapping(payload) or {}).get("id")
    for text in (said, headers.get("x-request-id")):
        named = _REQUEST_ID.search(text) if isinstance(text, str) else None
        if named is not None and named[0] != request_id:
            return named[0]
    return None


def _answer_to(other: str, endpoint: str, request_id: str) -> Failure:
    return Failure(
        ResponseMismatchError(
            f"The reply is the one to another request, {other}: a proxy mixes up replies, sends "
            "them twice, or keeps them.",
            endpoint=endpoint,
            request_id=request_id,
        ),
        summary="a reply to another request",
        retried=True,
    )


def _is_reset(outcome: Response | Failure) -> bool:
    return isinstance(outcome, Failure) and outcome.fault is Fault.RESET


def _encode(body: dict[str, object]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError as error:
        raise InputError(f"The sample cannot be sent as JSON: {error}.") from error


def _json_or_none(body: bytes) -> object:
    try:
        return cast("object", orjson.loads(body))
    except ValueError:
        if b"NaN" not in body and b"Infinity" not in body:
            return None
    # Python servers write these numbers in JSON, orjson refuses them, and whoever reads the reply
    # has to say that they are the trouble: they become null, and nothing else passes that orjson
    # would refuse.
    try:
        return cast("object", orjson.loads(orjson.dumps(json.loads(body))))
    except (ValueError, TypeError, RecursionError):
        return None
