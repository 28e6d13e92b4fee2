"""Recording of the requests that reach the server."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request that reached the server, whatever the server answered.

    Attributes:
        method: The HTTP method in capitals.
        path: The path without the query.
        headers: The headers by lower-case name.
        json: The parsed JSON body; None for an empty body and for one that is not JSON.
    """

    method: str
    path: str
    headers: dict[str, str]
    json: Any


class Recorder:
    """ASGI middleware that records every request in the order of arrival."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._requests: list[RecordedRequest] = []
        # The server's thread records, a test's thread reads.
        self._lock = threading.Lock()

    @property
    def requests(self) -> list[RecordedRequest]:
        """A copy of the list of all requests so far."""
        with self._lock:
            return list(self._requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Record the request, then let the app answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        messages: list[Message] = []
        while not messages or messages[-1].get("more_body"):
            messages.append(await receive())
        with self._lock:
            self._requests.append(_recorded(scope, b"".join(m.get("body", b"") for m in messages)))

        async def replay() -> Message:
            return messages.pop(0) if messages else await receive()

        await self._app(scope, replay, send)


def _recorded(scope: Scope, body: bytes) -> RecordedRequest:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return RecordedRequest(scope["method"], scope["path"], headers, parsed)
