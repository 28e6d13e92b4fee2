"""Injection of faults that servers show in practice."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from reward_client.testing._connection import TRANSPORT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ERROR_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n"
    b"</body>\r\n</html>\r\n"
)
# The keys that hold the values of an item, one for each pooling route.
_VALUE_KEYS = ("data", "embedding", "probs")


@dataclass(slots=True)
class _Response:
    """A complete HTTP response."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One request that a fault hits."""

    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send

    async def pass_on(self) -> None:
        """Let the app answer."""
        await self.app(self.scope, self.receive, self.send)

    async def true_response(self) -> _Response:
        """Return the app's response without sending it."""
        response = _Response(status=0, headers=[], body=b"")

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                response.status, response.headers = message["status"], list(message["headers"])
            else:
                response.body += message.get("body", b"")

        await self.app(self.scope, self.receive, keep)
        return response

    async def respond(self, response: _Response, *, body_bytes: int | None = None) -> None:
        """Send a response, or its headers and the first `body_bytes` of its body."""
        start = {
            "type": "http.response.start",
            "status": response.status,
            "headers": response.headers,
        }
        await self.send(start)
        more = body_bytes is not None
        body = response.body[:body_bytes]
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    def transport(self) -> asyncio.Transport:
        """Return the connection's transport.

        Raises:
            RuntimeError: If another server than `RewardServer` runs the app.
        """
        transport: asyncio.Transport | None = self.scope.get("state", {}).get(TRANSPORT)
        if transport is None:
            raise RuntimeError(
                "Cannot break the connection: the app does not run in RewardServer. Inject this "
                "fault by RewardServer.inject."
            )
        return transport

    async def wait_until_closed(self) -> None:
        """Wait until the server sees that the connection is closed."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that hits one request; each class method makes one kind of fault.

    Attributes:
        name: The name of the class method that made the fault.
    """

    name: str
    _act: Callable[[_Exchange], Awaitable[None]] = field(repr=False)

    @classmethod
    def reset(cls) -> Fault:
        """Reset the connection (TCP RST) before any response."""

        async def act(exchange: _Exchange) -> None:
            transport = exchange.transport()
            connection: socket.socket = transport.get_extra_info("socket")
            # A linger time of zero makes closing send a RST instead of a FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
            await exchange.wait_until_closed()

        return cls("reset", act)

    @classmethod
    def disconnect(cls) -> Fault:
        """Close the connection properly (TCP FIN) before any response."""

        async def act(exchange: _Exchange) -> None:
            exchange.transport().close()
            await exchange.wait_until_closed()

        return cls("disconnect", act)

    @classmethod
    def cut(cls) -> Fault:
        """Send the headers and half of the body, then close the connection."""

        async def act(exchange: _Exchange) -> None:
            response = await exchange.true_response()
            await exchange.respond(response, body_bytes=len(response.body) // 2)
            exchange.transport().close()
            await exchange.wait_until_closed()

        return cls("cut", act)

    @classmethod
    def delay(cls, seconds: float) -> Fault:
        """Send the true response after a delay in seconds."""

        async def act(exchange: _Exchange) -> None:
            await asyncio.sleep(seconds)
            await exchange.pass_on()

        return cls("delay", act)

    @classmethod
    def status(
        cls, code: int, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Fault:
        """Send a response with this status, these headers and this body."""
        return cls("status", _respond_with(code, headers or {}, body))

    @classmethod
    def html(cls, code: int = 502) -> Fault:
        """Send a proxy's error page; some proxies send it with status 200."""
        return cls("html", _respond_with(code, {"Content-Type": "text/html"}, _ERROR_PAGE))

    @classmethod
    def truncated_json(cls) -> Fault:
        """Send a complete HTTP response with half of the JSON."""

        def half(response: _Response) -> bytes:
            return response.body[: len(response.body) // 2]

        return cls("truncated_json", _change_body(half))

    @classmethod
    def shuffled_index(cls) -> Fault:
        """Reverse the order of the items; each item keeps its index."""
        return cls("shuffled_index", _change_data(lambda data: data.reverse()))

    @classmethod
    def missing_item(cls) -> Fault:
        """Remove the last item."""
        return cls("missing_item", _change_data(lambda data: data.pop()))

    @classmethod
    def doubled_index(cls) -> Fault:
        """Give the last item the index of the item before it; a single item comes twice.

        Without an index, as in SGLang's own routes, it is the ID of the item's request.
        """

        def double(data: list[dict[str, Any]]) -> None:
            if len(data) == 1:
                data.append(copy.deepcopy(data[0]))
            if "index" in data[0]:
                data[-1]["index"] = data[-2]["index"]
            else:
                data[-1]["meta_info"]["id"] = data[-2]["meta_info"]["id"]

        return cls("doubled_index", _change_data(double))

    @classmethod
    def nan(cls) -> Fault:
        """Replace the first item's values by NaN: the literal in JSON, the bits in base64."""
        return cls("nan", _change_data(lambda data: _fill(data[0], float("nan"))))

    @classmethod
    def null(cls) -> Fault:
        """Replace the first item's values by null; a base64 text becomes one null."""
        return cls("null", _change_data(lambda data: _fill(data[0], None)))

    @classmethod
    def other_model(cls, name: str) -> Fault:
        """Name another model in the response, as if it had replaced the model behind the URL."""

        def rename(body: Any) -> Any:
            return {**body, "model": name} if "model" in body else body

        return cls("other_model", _change_json(rename))

    @classmethod
    def wrong_usage(cls) -> Fault:
        """Count one token more than the request holds, in ``usage`` or in the first item."""

        def miscount(body: Any) -> Any:
            if "usage" in body:
                body["usage"]["prompt_tokens"] += 1
                body["usage"]["total_tokens"] += 1
            else:
                _native_items(body)[0]["meta_info"]["prompt_tokens"] += 1
            return body

        return cls("wrong_usage", _change_json(miscount))

    async def strike(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer this request with the fault."""
        await self._act(_Exchange(app, scope, receive, send))


def _respond_with(
    code: int, headers: Mapping[str, str], body: bytes
) -> Callable[[_Exchange], Awaitable[None]]:
    given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    length = (b"content-length", str(len(body)).encode())

    async def act(exchange: _Exchange) -> None:
        await exchange.respond(_Response(code, [*given, length], body))

    return act


def _change_body(change: Callable[[_Response], bytes]) -> Callable[[_Exchange], Awaitable[None]]:
    async def act(exchange: _Exchange) -> None:
        response = await exchange.true_response()
        response.body = change(response)
        length = str(len(response.body)).encode()
        response.headers = [
            (name, length if name == b"content-length" else value)
            for name, value in response.headers
        ]
        await exchange.respond(response)

    return act


def _change_json(change: Callable[[Any], Any]) -> Callable[[_Exchange], Awaitable[None]]:
    """Return an action that changes the JSON of a success, and passes an error on unchanged.

    Only responses that count tokens change: those with ``usage``, and SGLang's own.
    """

    def changed(response: _Response) -> bytes:
        body = json.loads(response.body)
        if response.status != 200 or not ("usage" in body or _native_items(body)):
            return response.body
        return json.dumps(change(body)).encode()

    return _change_body(changed)


def _native_items(body: Any) -> list[dict[str, Any]]:
    """Return the items of a response of SGLang's own routes; none of any other."""
    items = cast("list[dict[str, Any]]", body if isinstance(body, list) else [body])
    return items if all("meta_info" in item for item in items) else []


def _change_data(
    change: Callable[[list[dict[str, Any]]], object],
) -> Callable[[_Exchange], Awaitable[None]]:
    def changed(body: Any) -> Any:
        if "usage" in body:
            change(body["data"])
            return body
        items = _native_items(body)
        change(items)
        return items[0] if len(items) == 1 and not isinstance(body, list) else items

    return _change_json(changed)


def _fill(item: dict[str, Any], value: float | None) -> None:
    """Replace every number of an item's values."""
    key = next(key for key in _VALUE_KEYS if key in item)
    item[key] = _filled(item[key], value)


def _filled(values: object, value: float | None) -> object:
    if isinstance(values, list):
        return [_filled(inner, value) for inner in cast("list[object]", values)]
    if isinstance(values, str) and value is not None:
        count = len(base64.b64decode(values)) // 4
        return base64.b64encode(struct.pack(f"<{count}f", *[value] * count)).decode()
    return value


@dataclass(slots=True)
class _Planned:
    fault: Fault
    path: str | None
    times: int


class FaultInjector:
    """ASGI middleware that hits requests with the planned faults, in the order of planning."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._planned: list[_Planned] = []
        # Faults are planned from the test's thread and struck in the server's.
        self._lock = threading.Lock()

    def plan(self, fault: Fault, *, path: str | None, times: int) -> None:
        """Plan this fault for the next requests to a path, or to any path."""
        with self._lock:
            self._planned.append(_Planned(fault, path, times))

    def _next(self, path: str) -> Fault | None:
        with self._lock:
            for planned in self._planned:
                if planned.path in (None, path):
                    planned.times -= 1
                    if planned.times == 0:
                        self._planned.remove(planned)
                    return planned.fault
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the next planned fault; without one, let the app answer."""
        fault = self._next(scope["path"]) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await fault.strike(self._app, scope, receive, send)
