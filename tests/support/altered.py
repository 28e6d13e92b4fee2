"""A test server between whose lines something is changed, for servers that vLLM can be."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from reward_client.testing import Fault, RewardServer

ALWAYS = 10**6


def alter_requests(server: RewardServer, path: str, change: Callable[[dict[str, Any]], object]):
    """Has the server read other requests than were sent."""

    async def act(exchange: Any) -> None:
        body = json.loads(await whole_body(exchange.receive))
        change(body)
        await replace(exchange, receive=replaying(body, exchange.receive)).pass_on()

    server.inject(Fault("altered request", act), path=path, times=ALWAYS)


def alter_replies(
    server: RewardServer, path: str, change: Callable[[dict[str, Any], dict[str, Any]], object]
):
    """Has the server send other replies; a change sees the request, and the reply to change."""

    async def act(exchange: Any) -> None:
        body = await whole_body(exchange.receive)
        request = json.loads(body) if body else {}
        exchange = replace(exchange, receive=replaying(request, exchange.receive))
        response = await exchange.true_response()
        changed = json.loads(response.body)
        change(request, changed)
        response.body = json.dumps(changed).encode()
        length = str(len(response.body)).encode()
        response.headers = [
            (name, length if name == b"content-length" else value)
            for name, value in response.headers
        ]
        await exchange.respond(response)

    server.inject(Fault("altered response", act), path=path, times=ALWAYS)


async def whole_body(receive: Callable[[], Any]) -> bytes:
    message = await receive()
    body = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


def replaying(body: dict[str, Any], receive: Callable[[], Any]) -> Callable[[], Any]:
    messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def replay() -> Any:
        return messages.pop() if messages else await receive()

    return replay
