"""Faults that a server in the field shows, injected into the replies of the test server."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Where the server's protocol leaves the connection's transport in an ASGI scope's state.
TRANSPORT = "reward_client.transport"

_ERROR_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n"
    b"</body>\r\n</html>\r\n"
)
# The keys of a pooled reply's item that hold its values.
_VALUE_KEYS = ("data", "embedding", "probs")


@dataclass(slots=True)
class _Answer:
    """A complete reply."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One request that a fault has hit."""

    app: ASGIApp
    scope: Scope
    receive: Receive
    send: Send

    async def pass_on(self) -> None:
        """Let the app answer."""
        await self.app(self.scope, self.receive, self.send)

    async def true_answer(self) -> _Answer:
        """What the app answers, kept back."""
        answer = _Answer(status=0, headers=[], body=b"")

        async def keep(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], list(message["headers"])
            else:
                answer.body += message.get("body", b"")

        await self.app(self.scope, self.receive, keep)
        return answer

    async def reply(self, answer: _Answer, *, sent: int | None = None) -> None:
        """Send a reply, or only the first bytes of its body."""
        start = {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        await self.send(start)
        more = sent is not None
        body = answer.body[:sent]
        await self.send({"type": "http.response.body", "body": body, "more_body": more})

    def transport(self) -> asyncio.Transport:
        """The connection itself."""
        transport: asyncio.Transport | None = self.scope.get("state", {}).get(TRANSPORT)
        if transport is None:
            raise RuntimeError("Faults of the connection need RewardServer, which opens it.")
        return transport

    async def closed(self) -> None:
        """Wait until the server has noticed that the connection is gone."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with a request; made by one of the named constructors.

    Attributes:
        name: The constructor's name.
    """

    name: str
    _act: Callable[[_Exchange], Awaitable[None]] = field(repr=False)

    @classmethod
    def reset(cls) -> Fault:
        """The connection is reset (TCP RST) before any reply."""

        async def act(exchange: _Exchange) -> None:
            transport = exchange.transport()
            connection: socket.socket = transport.get_extra_info("socket")
            # A linger time of zero makes closing send a RST instead of a FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
            await exchange.closed()

        return cls("reset", act)

    @classmethod
    def disconnect(cls) -> Fault:
        """The connection is closed properly before any reply."""

        async def act(exchange: _Exchange) -> None:
            exchange.transport().close()
            await exchange.closed()

        return cls("disconnect", act)

    @classmethod
    def cut(cls) -> Fault:
        """The headers and half of the body arrive, then the connection is closed."""

        async def act(exchange: _Exchange) -> None:
            answer = await exchange.true_answer()
            await exchange.reply(answer, sent=len(answer.body) // 2)
            exchange.transport().close()
            await exchange.closed()

        return cls("cut", act)

    @classmethod
    def delay(cls, seconds: float) -> Fault:
        """The true answer, late."""

        async def act(exchange: _Exchange) -> None:
            await asyncio.sleep(seconds)
            await exchange.pass_on()

        return cls("delay", act)

    @classmethod
    def status(
        cls, code: int, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Fault:
        """This reply instead of the true one."""
        return cls("status", _replying(code, headers or {}, body))

    @classmethod
    def html(cls, code: int = 502) -> Fault:
        """A proxy's error page, with its status or, as some do, with 200."""
        return cls("html", _replying(code, {"Content-Type": "text/html"}, _ERROR_PAGE))

    @classmethod
    def truncated_json(cls) -> Fault:
        """A complete HTTP reply with half of the JSON."""

        def half(answer: _Answer) -> bytes:
            return answer.body[: len(answer.body) // 2]

        return cls("truncated_json", _changing_body(half))

    @classmethod
    def shuffled_index(cls) -> Fault:
        """The items come in another order; each has its right index."""
        return cls("shuffled_index", _changing_data(lambda data: data.reverse()))

    @classmethod
    def missing_item(cls) -> Fault:
        """The last item is missing."""
        return cls("missing_item", _changing_data(lambda data: data.pop()))

    @classmethod
    def doubled_index(cls) -> Fault:
        """The last item has the index of the one before it, or comes twice if it is alone."""

        def double(data: list[dict[str, Any]]) -> None:
            if len(data) == 1:
                data.append(dict(data[0]))
            data[-1]["index"] = data[-2]["index"]

        return cls("doubled_index", _changing_data(double))

    @classmethod
    def nan(cls) -> Fault:
        """The first item's values are NaN: the literal in JSON, the bits in base64."""
        return cls("nan", _changing_data(lambda data: _fill(data[0], float("nan"))))

    @classmethod
    def null(cls) -> Fault:
        """The first item's values are null; base64 becomes null as a whole."""
        return cls("null", _changing_data(lambda data: _fill(data[0], None)))

    @classmethod
    def other_model(cls, name: str) -> Fault:
        """The reply comes from another model: one that has come up behind the same URL."""
        return cls("other_model", _changing_reply(lambda reply: reply.update(model=name)))

    @classmethod
    def wrong_usage(cls) -> Fault:
        """The reply counts one token more than was sent."""

        def miscount(reply: dict[str, Any]) -> None:
            reply["usage"]["prompt_tokens"] += 1
            reply["usage"]["total_tokens"] += 1

        return cls("wrong_usage", _changing_reply(miscount))

    async def strike(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer this request with the fault."""
        await self._act(_Exchange(app, scope, receive, send))


def _replying(
    code: int, headers: Mapping[str, str], body: bytes
) -> Callable[[_Exchange], Awaitable[None]]:
    given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    length = (b"content-length", str(len(body)).encode())

    async def act(exchange: _Exchange) -> None:
        await exchange.reply(_Answer(code, [*given, length], body))

    return act


def _changing_body(change: Callable[[_Answer], bytes]) -> Callable[[_Exchange], Awaitable[None]]:
    async def act(exchange: _Exchange) -> None:
        answer = await exchange.true_answer()
        answer.body = change(answer)
        length = str(len(answer.body)).encode()
        answer.headers = [
            (name, length if name == b"content-length" else value) for name, value in answer.headers
        ]
        await exchange.reply(answer)

    return act


def _changing_reply(
    change: Callable[[dict[str, Any]], object],
) -> Callable[[_Exchange], Awaitable[None]]:
    """Change the JSON of a successful reply; an error is passed on as it is."""

    def changed(answer: _Answer) -> bytes:
        reply = json.loads(answer.body)
        if answer.status != 200 or "usage" not in reply:
            return answer.body
        change(reply)
        return json.dumps(reply).encode()

    return _changing_body(changed)


def _changing_data(
    change: Callable[[list[dict[str, Any]]], object],
) -> Callable[[_Exchange], Awaitable[None]]:
    return _changing_reply(lambda reply: change(reply["data"]))


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
    """ASGI middleware that answers planned requests with faults, in the order of planning."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._planned: list[_Planned] = []
        # Faults are planned from the test's thread and struck in the server's.
        self._lock = threading.Lock()

    def plan(self, fault: Fault, *, path: str | None, times: int) -> None:
        """Let the next requests to this path, or to any, end in this fault."""
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
        """Answer with the next fault, if one is planned, or let the app answer."""
        fault = self._next(scope["path"]) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await fault.strike(self._app, scope, receive, send)
