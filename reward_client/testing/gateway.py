"""A gateway that stands before a server, and changes what gateways change in practice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import aiohttp
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from reward_client.testing.app import check_choice
from reward_client.testing.loopback import LoopbackServer

if TYPE_CHECKING:
    from starlette.requests import Request

_HOP_BY_HOP = frozenset({"host", "connection", "content-length", "transfer-encoding"})
_REASONS = {400: "Bad Request", 404: "Not Found", 422: "Unprocessable Entity"}


_Errors: TypeAlias = Literal["kept", "flat", "bare 500"]


@dataclass(frozen=True, slots=True)
class GatewayKind:
    """A kind of gateway, as data.

    Attributes:
        routes: The paths that it forwards, by the path on the server. One that ends with ``/*``
            stands for all paths below it. Other paths get a 404.
        openapi: Its own ``/openapi.json``; None forwards the request like any other.
        errors: The errors that it sends for those of the server: ``"kept"``; ``"flat"``
            (``{"message", "type", "code"}``); ``"bare 500"``, a text that says nothing.
        card_keys: The keys of a model in ``/v1/models`` that it keeps; None keeps all.
        request_keys: The keys of a request that it keeps; None keeps all.
        keeps_usage: False if it drops ``usage``.
        keeps_headers: False if it drops the server's response headers.

    Raises:
        ValueError: If an option is unknown.
    """

    routes: Mapping[str, str] = field(default_factory=lambda: _same("/*"))
    openapi: Mapping[str, object] | None = None
    errors: _Errors = "kept"
    card_keys: frozenset[str] | None = None
    request_keys: frozenset[str] | None = None
    keeps_usage: bool = True
    keeps_headers: bool = True

    def __post_init__(self) -> None:
        check_choice("errors", self.errors, get_args(_Errors))
        check_choice("keeps_usage", self.keeps_usage, (True, False))
        check_choice("keeps_headers", self.keeps_headers, (True, False))


def _same(*paths: str) -> Mapping[str, str]:
    return MappingProxyType({path: path for path in paths})


_OPENAI_CARD = frozenset({"id", "object", "created", "owned_by"})

GATEWAY_KINDS: Mapping[str, GatewayKind] = MappingProxyType(
    {
        "transparent": GatewayKind(),
        "catch-all": GatewayKind(
            openapi={"openapi": "3.1.0", "paths": {"/{endpoint}": {"get": {}, "post": {}}}},
            errors="bare 500",
            keeps_headers=False,
        ),
        "classify": GatewayKind(routes=_same("/classify")),
        "v1": GatewayKind(routes=_same("/v1/*")),
        "openai": GatewayKind(
            routes=_same("/v1/models", "/v1/embeddings", "/v1/completions"),
            openapi={"paths": {"/v1/models": {}, "/v1/chat/completions": {}}},
            card_keys=_OPENAI_CARD,
            keeps_usage=False,
        ),
        "dynamo": GatewayKind(
            routes=MappingProxyType(
                {
                    "/v1/models": "/v1/models",
                    "/v1/embeddings": "/v1/embeddings",
                    "/v1/completions": "/v1/completions",
                    "/v1/classify": "/classify",
                    "/v1/pooling": "/pooling",
                }
            ),
            openapi={"paths": {"/v1/models": {}, "/v1/classify": {}, "/v1/pooling": {}}},
            errors="flat",
            card_keys=_OPENAI_CARD,
        ),
        "flat": GatewayKind(errors="flat"),
        "bare 500": GatewayKind(errors="bare 500"),
        "no usage": GatewayKind(keeps_usage=False),
    }
)
"""The kinds of `RewardGateway`."""


class RewardGateway(LoopbackServer):
    """A gateway on a loopback port, in front of a `RewardServer` or a real vLLM.

    It forwards requests as gateways of its kind do::

        with RewardServer() as server, RewardGateway(server.url, kind="catch-all") as gateway:
            client = RewardClient(gateway.url)

    Args:
        upstream_url: The base URL of the server.
        kind: A kind of the gateway, or the name of one:

            * ``"transparent"``: changes nothing,
            * ``"catch-all"``: lists ``/{endpoint}`` as its only route, and sends a bare 500 for
              each error, as the reward router of verl does,
            * ``"classify"``: forwards ``/classify`` and nothing else,
            * ``"v1"``: forwards the paths below ``/v1`` and nothing else,
            * ``"openai"``: forwards the routes that OpenAI has too, without ``usage``, ``root`` and
              the length limit,
            * ``"dynamo"``: forwards ``/v1/classify`` and ``/v1/pooling``, with flat errors,
            * ``"flat"``, ``"bare 500"``, ``"no usage"``: changes errors or ``usage`` alone.
        port: The port; 0 takes a free one.

    Raises:
        ValueError: If the kind is unknown.
    """

    def __init__(
        self, upstream_url: str, kind: str | GatewayKind = "transparent", *, port: int = 0
    ) -> None:
        if isinstance(kind, str):
            if kind not in GATEWAY_KINDS:
                known = ", ".join(GATEWAY_KINDS)
                raise ValueError(f"Cannot play the gateway {kind!r}: it is unknown. Name {known}.")
            kind = GATEWAY_KINDS[kind]
        forward = _Forward(upstream_url.rstrip("/"), kind)
        route = Route("/{path:path}", forward.answer, methods=["GET", "POST"])
        super().__init__(Starlette(routes=[route]), port)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class _Forward:
    """Forwards requests to a server."""

    upstream: str
    kind: GatewayKind

    async def answer(self, request: Request) -> Response:
        """Answer a request by the server's response."""
        path, kind = request.url.path, self.kind
        if path == "/openapi.json" and kind.openapi is not None:
            answer = _Answer(200, json.dumps(kind.openapi).encode())
        else:
            there = _path_there(kind.routes, path)
            if there is None:
                answer = _Answer(404, b'{"detail":"Not Found"}')
            else:
                answer = await self._of_server(request, there)
        if answer.status >= 400 and kind.errors == "bare 500":
            # Starlette answers a bare 500 then, and uvicorn closes the connection: as verl's does.
            raise RuntimeError(answer.status)
        if answer.status >= 400 and kind.errors == "flat":
            answer = _flat(answer)
        elif answer.media_type.startswith("application/json"):
            answer = self._without_keys(answer)
        return Response(
            answer.body, answer.status, dict(answer.headers), media_type=answer.media_type
        )

    async def _of_server(self, request: Request, path: str) -> _Answer:
        headers = {
            name: value for name, value in request.headers.items() if name not in _HOP_BY_HOP
        }
        body = self._kept(await request.body())
        # A session for each request: there is no moment to close one that all requests share.
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, self.upstream + path, data=body, headers=headers
            ) as response,
        ):
            content = await response.read()
            kept = {
                name.lower(): value
                for name, value in response.headers.items()
                if name.lower() not in {*_HOP_BY_HOP, "content-type"} and self.kind.keeps_headers
            }
            media_type = response.headers.get("content-type", "application/octet-stream")
            return _Answer(response.status, content, kept, media_type)

    def _kept(self, body: bytes) -> bytes:
        keys = self.kind.request_keys
        if keys is None or not body:
            return body
        return json.dumps(
            {key: value for key, value in json.loads(body).items() if key in keys}
        ).encode()

    def _without_keys(self, answer: _Answer) -> _Answer:
        kind = self.kind
        if kind.keeps_usage and kind.card_keys is None:
            return answer
        payload: dict[str, Any] = json.loads(answer.body)
        if not kind.keeps_usage:
            payload.pop("usage", None)
        if kind.card_keys is not None:
            payload["data"] = [
                {key: card[key] for key in card if key in kind.card_keys}
                if card.get("object") == "model"
                else card
                for card in payload.get("data", [])
            ]
        return _Answer(
            answer.status, json.dumps(payload).encode(), answer.headers, answer.media_type
        )


def _path_there(routes: Mapping[str, str], path: str) -> str | None:
    """Return the server's path for a path of the gateway; None if there is no such route."""
    for here, there in routes.items():
        if here == path:
            return there
        prefix = here.removesuffix("*")
        if prefix != here and path.startswith(prefix):
            return there.removesuffix("*") + path.removeprefix(prefix)
    return None


def _flat(answer: _Answer) -> _Answer:
    """Write the server's message as Dynamo does; a missing route or model keeps no message."""
    reason = _REASONS.get(answer.status, "UnknownError")
    message = "Model not found" if answer.status == 404 else _message(answer.body)
    said = {"message": message, "type": reason, "code": answer.status}
    return _Answer(answer.status, json.dumps(said).encode())


def _message(body: bytes) -> str:
    try:
        payload: dict[str, Any] = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
    error: dict[str, Any] | str = payload.get("error", payload)
    return error if isinstance(error, str) else str(error.get("message", error))
