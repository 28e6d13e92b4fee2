"""The stand-in on real sockets: a test scripts each answer byte by byte, for faults.

`answer` is the true answer of a server with a one-label classifier; `answering` that of any fake.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from .fake_vllm import BOS, CHAT, FakeVllm, TextVllm, card, ids_of, rendered

LOOPBACK = "127.0.0.1"
_LONGEST_REQUEST = 2**24


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def id(self) -> str:
        return self.headers.get("x-request-id", "1")

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"null")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and the connection that it came on."""

    server: RawServer
    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """A linger time of zero makes closing send a RST instead of a FIN."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()

    async def until_gone(self) -> None:
        """Wait until the client has left, and say so."""
        while await self.reader.read(2**16):
            pass
        self.server.left.set()
        self.close()


Action = Callable[[Exchange], Awaitable[None]]
Answer = Callable[[Request], Action]


class RawServer:
    """Serves on a free loopback port from a thread of its own, until the context is left.

    Args:
        answer: What to do with a request for which nothing is planned.
        tls: Speaks TLS with this.
        port: Listens here; 0 takes a free port.
    """

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.port = port
        self.arrival = threading.Event()
        self.left = threading.Event()
        self.answer = answer
        self._tls = tls
        self._planned: defaultdict[str, deque[Action]] = defaultdict(deque)
        self._handlers: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{LOOPBACK}:{self.port}"

    def plan(self, path: str, *actions: Action) -> None:
        """Have the next requests to a path end so, one action for each."""
        self._planned[path].extend(actions)

    def seen(self, path: str) -> list[Request]:
        """The requests to a path so far."""
        return [request for request in self.requests if request.path == path]

    def forget(self) -> None:
        """Start counting anew."""
        self.requests.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Close the port and every connection."""
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(
            self._serve, LOOPBACK, self.port, limit=_LONGEST_REQUEST, ssl=self._tls
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopping.wait()
        server.close()
        await asyncio.sleep(0)  # a connection that was just accepted gets its handler
        while self._handlers:
            for handler in self._handlers:
                handler.cancel()
            await asyncio.wait(tuple(self._handlers))
        await asyncio.sleep(0)  # and what was closed last is closed

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        self.connections += 1
        number = self.connections
        try:
            if not (first := await reader.read(1)).isalpha():
                # A TLS handshake, mostly; uvicorn answers so too.
                writer.write(http(b"Invalid HTTP request received.", 400))
                return
            while not writer.is_closing():
                request = await _read_request(reader, number, first)
                first = b""
                self.requests.append(request)
                planned = self._planned[request.path]
                action = planned.popleft() if planned else self.answer(request)
                await action(Exchange(self, request, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client, or the test, has ended the connection
        finally:
            writer.close()
            self._handlers.discard(handler)


async def _read_request(reader: asyncio.StreamReader, connection: int, first: bytes) -> Request:
    head = first + await reader.readuntil(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").splitlines()
    method, target, _ = start.split(" ")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body, connection)


def http(
    body: bytes,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    length: int | None = None,
) -> bytes:
    """The bytes of a reply."""
    fields = {"content-length": str(len(body) if length is None else length), **(headers or {})}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {fields[name]}" for name in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def response(
    payload: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Action:
    """A JSON reply."""
    return sending(http(json.dumps(payload).encode(), status, headers))


def sending(data: bytes) -> Action:
    """These bytes; the connection stays open."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(data)

    return act


def then_closed(data: bytes) -> Action:
    """These bytes, and a proper end of the connection."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(data)
        exchange.close()

    return act


def then_reset(data: bytes) -> Action:
    """These bytes, and a RST once the client has them."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(data)
        if data:
            await asyncio.sleep(0.05)  # a RST would overtake bytes that nobody has read yet
        exchange.reset()

    return act


def then_silent(data: bytes) -> Action:
    """These bytes, and nothing more until the client leaves."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(data)
        await exchange.until_gone()

    return act


# True answers

CONVERSATION = CHAT


def reward_of(ids: Sequence[int]) -> float:
    """The reward that the model gives to token IDs."""
    return sum(ids) / 128 - 3


TRUE = TextVllm(cards=[card("tiny", root="tiny")], pool=lambda ids: [reward_of(ids)])


def expected(messages: Sequence[Mapping[str, str]] = CONVERSATION) -> float:
    """The reward of a conversation."""
    return reward_of([BOS, *ids_of(rendered(messages))])


def answer(request: Request) -> Action:
    """The true answer."""
    return sending(true_reply(request))


def true_reply(request: Request) -> bytes:
    """The bytes of the true answer; as in vLLM, its ID holds the ID of the request."""
    status, payload = TRUE.true_answer(request.path, request.json)
    if "id" in payload:
        payload["id"] = f"pool-{request.id}"
    return http(json.dumps(payload).encode(), status)


def body_of(request: Request) -> dict[str, Any]:
    """The JSON body of the true answer."""
    return json.loads(true_reply(request).partition(b"\r\n\r\n")[2])


def answering(fake: FakeVllm) -> Answer:
    """The answers of a fake, as a test scripts them."""

    def answer(request: Request) -> Action:
        url = f"http://{LOOPBACK}{request.target}"
        reply = fake.answer(httpx.Request(request.method, url, content=request.body))
        return sending(http(reply.content, reply.status_code, reply.headers))

    return answer


async def as_it_is(exchange: Exchange) -> None:
    """The true answer, in a plan between other things."""
    await answer(exchange.request)(exchange)


if __name__ == "__main__":  # a process that a test can kill: PORT DELAY_SECONDS

    def late(request: Request) -> Action:
        async def act(exchange: Exchange) -> None:
            await asyncio.sleep(float(sys.argv[2]))
            await as_it_is(exchange)

        return act

    with RawServer(late, port=int(sys.argv[1])) as server:
        print(server.url, flush=True)
        threading.Event().wait()
