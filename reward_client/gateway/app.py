"""The gateway as an ASGI app."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from os import PathLike
from typing import TypeAlias
from uuid import uuid4

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from reward_client._client.async_client import AsyncRewardClient
from reward_client._integrations.clients import grading
from reward_client._integrations.policy_text import PolicyText
from reward_client._integrations.reasoning import checked_names
from reward_client.errors import RewardClientError
from reward_client.gateway.bodies import parsed, read_body
from reward_client.gateway.contracts import CONTRACTS
from reward_client.gateway.contracts.contract import Asked, Contract, Refusal
from reward_client.gateway.contracts.plain import PLAIN
from reward_client.gateway.keys import CHALLENGE, Key
from reward_client.gateway.limits import GatewayLimits, InFlight
from reward_client.gateway.logs import logger, note
from reward_client.gateway.metrics import CONTENT_TYPE, Metrics
from reward_client.gateway.one_model import OneModel
from reward_client.gateway.openapi import openapi_document, page
from reward_client.gateway.readiness import PAUSE, UNAVAILABLE, Readiness, shown, unavailable
from reward_client.gateway.scoring import (
    DisconnectedError,
    Scoring,
    server_fault,
    while_connected,
)

_Endpoint: TypeAlias = Callable[[Request], Coroutine[object, object, Response]]

_UNAUTHORIZED = 401
_LEFT = 499
"""The status of a caller that has left, as nginx logs it. Nobody receives it."""
_FAILED = 500
_STOPPED = Refusal(
    UNAVAILABLE, "Stopped", "Cannot answer: the gateway stops. Ask again.", retry_after=PAUSE
)
_ID_HEADER = "x-request-id"
_LONGEST_ID = 128
_QUICK_BYTES = 2**16
"""A body up to this size is read at once, and a larger one in a thread, beside other requests."""


def create_app(
    client: AsyncRewardClient,
    *,
    key: str | None = None,
    limits: GatewayLimits = GatewayLimits(),
    policy_tokenizer: str | PathLike[str] | object | None = None,
    strip_reasoning: str | Sequence[str] | None = None,
) -> Starlette:
    """Return the gateway as an ASGI app.

    Args:
        client: The client of the reward servers. Only the caller closes it.
        key: The key that callers have to send; None for no key.
        limits: The bounds.
        policy_tokenizer: The tokenizer of the policy, as `reward_client.Retokenizer` takes it. It
            reads texts in the policy's chat template. None takes texts without a template only.
        strip_reasoning: The names of the tags around a policy's reasoning, such as ``"think"``,
            which is left out of its answers.

    Raises:
        InputError: If the tokenizer cannot be loaded, a name is none of a tag, or the client's
            method only compares responses.
        ImportError: If the tokenizer needs transformers, which is not installed.
    """
    policy = PolicyText(policy_tokenizer, checked_names(strip_reasoning))
    gateway = _Gateway(grading(client), key, limits, policy)
    app = Starlette(
        routes=gateway.routes(),
        lifespan=gateway.lifespan,
        exception_handlers={HTTPException: _http_error},
    )
    # A redirect would lead from https to http behind a proxy, and prompts with it.
    app.router.redirect_slashes = False
    return app


class _Gateway:
    def __init__(
        self,
        client: AsyncRewardClient,
        key: str | None,
        limits: GatewayLimits,
        policy: PolicyText,
    ) -> None:
        self._client = client
        self._key = None if key is None else Key(key)
        self._limits = limits
        self._policy = policy
        model = OneModel(client)
        self._scoring = Scoring(client, model)
        self._readiness = Readiness(client, model, limits.patience)
        self._in_flight = InFlight(limits)
        self._metrics = Metrics()

    @asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncGenerator[None]:
        """Look for the reward servers while the app runs."""
        watching = asyncio.create_task(self._readiness.watch())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    def routes(self) -> list[Route]:
        """Return all paths."""
        posts = [
            Route(contract.path, self._endpoint(contract), methods=["POST"])
            for contract in CONTRACTS
        ]
        return [
            *posts,
            Route("/health", _health),
            Route("/ready", self._ready),
            Route("/metrics", self._with_key(self._show_metrics)),
            Route("/openapi.json", self._with_key(self._show_openapi)),
            Route("/docs", self._with_key(_show_page)),
        ]

    def _endpoint(self, contract: Contract) -> _Endpoint:
        async def answer(request: Request) -> Response:
            began = time.perf_counter()
            self._metrics.requests_in_flight += 1
            facts: dict[str, object] = {"contract": contract.name, "request_id": _id_of(request)}
            response = await self._answer(contract, request, facts)
            status, seconds = response.status_code, time.perf_counter() - began
            self._metrics.requests_in_flight -= 1
            self._metrics.note_request(contract.name, status, seconds)
            note(logging.INFO, "request", status=status, seconds=round(seconds, 6), **facts)
            response.headers[_ID_HEADER] = str(facts["request_id"])
            return response

        return answer

    async def _answer(
        self, contract: Contract, request: Request, facts: dict[str, object]
    ) -> Response:
        """Answer a request, and add the facts about it."""
        try:
            return _json(await self._rewards(contract, request, facts))
        except Refusal as refusal:
            facts["refusal"] = refusal.kind
            if refusal.status == UNAVAILABLE:
                facts["reason"] = refusal.reason
            return _refused(contract, refusal)
        except (DisconnectedError, ClientDisconnect):
            return Response(status_code=_LEFT)
        except asyncio.CancelledError:  # the gateway stops, and its time for requests is over
            facts["refusal"] = _STOPPED.kind
            return _refused(contract, _STOPPED)
        except Exception:  # noqa: BLE001 - the caller learns of it by the status
            logger.exception("a request failed by a mistake of the gateway")
            reason = "Cannot answer: the gateway made a mistake, and logged where."
            return _refused(contract, Refusal(_FAILED, "InternalError", reason))

    async def _rewards(
        self, contract: Contract, request: Request, facts: dict[str, object]
    ) -> object:
        """Return the body of the answer.

        Raises:
            Refusal: If there are no rewards to answer.
        """
        self._check_key(request)
        with self._in_flight.body() as add:
            raw = await read_body(request, self._limits.max_body_bytes, add)
            if len(raw) > _QUICK_BYTES:
                asked = await asyncio.to_thread(self._asked, contract, raw)
            else:
                asked = self._asked(contract, raw)
            facts["samples"] = len(asked.samples)
            if asked.stripped:
                facts["stripped_characters"] = asked.stripped
            with self._in_flight.admitted(len(asked.samples)):
                return await while_connected(request, self._scored(contract, asked))

    def _asked(self, contract: Contract, raw: bytes) -> Asked:
        return contract.read(parsed(raw), self._policy)

    async def _scored(self, contract: Contract, asked: Asked) -> object:
        if not asked.samples:
            return asked.answer([])
        await self._readiness.wait()
        try:
            outcomes = await self._scoring.outcomes(asked.samples)
        except RewardClientError as error:
            raise unavailable(error) from error
        self._metrics.note_outcomes(contract.name, outcomes)
        fault = server_fault(outcomes)
        if fault is not None:
            raise unavailable(fault)
        return asked.answer(outcomes)

    def _check_key(self, request: Request) -> None:
        if self._key is not None and not self._key.is_in(request.headers.get("authorization")):
            raise Refusal(
                _UNAUTHORIZED,
                "WrongKey",
                "Cannot answer: the key of the gateway is missing or wrong. Send it as a bearer "
                "token, or as the password in the URL.",
            )

    def _with_key(self, endpoint: _Endpoint) -> _Endpoint:
        async def answer(request: Request) -> Response:
            try:
                self._check_key(request)
            except Refusal as refusal:
                return _refused(PLAIN, refusal)
            return await endpoint(request)

        return answer

    async def _ready(self, _request: Request) -> Response:
        try:
            profiles = await self._readiness.profiles()
        except RewardClientError as error:
            return _json({"ready": False, "reason": unavailable(error).reason}, UNAVAILABLE)
        return _json({"ready": True, "servers": shown(profiles)})

    async def _show_metrics(self, _request: Request) -> Response:
        text = self._metrics.text(
            self._in_flight.samples, self._client.stats(), ready=self._readiness.is_ready
        )
        return PlainTextResponse(text, media_type=CONTENT_TYPE)

    async def _show_openapi(self, _request: Request) -> Response:
        return _json(openapi_document(has_key=self._key is not None))


async def _health(_request: Request) -> Response:
    return _json({"status": "ok"})


async def _show_page(_request: Request) -> Response:
    return HTMLResponse(page())


async def _http_error(_request: Request, error: Exception) -> Response:
    """Answer an unknown path or method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for HTTPException only
    paths = ", ".join(contract.path for contract in CONTRACTS)
    reason = f"Cannot answer: {error.detail}. The gateway takes POST at {paths}."
    refusal = Refusal(error.status_code, "NoSuchRoute", reason)
    return _refused(PLAIN, refusal, error.headers or {})


def _id_of(request: Request) -> str:
    """Return the caller's name for a request, or a new one."""
    given = request.headers.get(_ID_HEADER, "")
    return given if given.isprintable() and 0 < len(given) <= _LONGEST_ID else uuid4().hex


def _refused(
    contract: Contract, refusal: Refusal, headers: Mapping[str, str] | None = None
) -> Response:
    response = _json(contract.refusal(refusal), refusal.status)
    response.headers.update(headers or {})
    if refusal.retry_after is not None:
        response.headers["retry-after"] = str(refusal.retry_after)
    if refusal.status == _UNAUTHORIZED:
        response.headers["www-authenticate"] = CHALLENGE
    return response


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")
