"""Proxies that mix replies up, on real sockets: what comes in the place of a true reply."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from .fake_vllm import TextVllm
from .raw_server import TRUE, Action, Answer, Exchange, Request, http, sending, true_reply

TOKENIZE, POOLING = "/tokenize", "/pooling"

Mix = Callable[[Request, bytes], "Action | bytes"]
"""From a request and its true reply to what the proxy does instead."""
Exchanged = Callable[[Request, bytes], bytes]
"""The same for a proxy that sends another reply."""


def mixing(mix: Mix, *paths: str, reply: Callable[[Request], bytes] = true_reply) -> Answer:
    """Answer these paths so, and the others truly."""

    def answer(request: Request) -> Action:
        true = reply(request)
        mixed = mix(request, true) if request.path in paths else true
        return sending(mixed) if isinstance(mixed, bytes) else mixed

    return answer


def without_id(request: Request) -> bytes:
    """The true reply, without the ID of the request, as a gateway may send it on."""
    status, payload = TRUE.true_answer(request.path, request.json)
    payload.pop("id", None)
    return http(json.dumps(payload).encode(), status)


def late(share: float) -> Exchanged:
    """A share of the replies comes twice: from then on, the connection is one reply behind."""
    chance = random.Random(0)
    owed: defaultdict[int, deque[bytes]] = defaultdict(deque)

    def mix(request: Request, true: bytes) -> bytes:
        queue = owed[request.connection]
        queue.append(true)
        if chance.random() < share:
            queue.append(true)
        return queue.popleft()

    return mix


def previous(share: float) -> Exchanged:
    """In the place of a share of the replies, the one before is sent again."""
    chance, last = random.Random(0), [b""]

    def mix(_: Request, true: bytes) -> bytes:
        before, last[0] = last[0], true
        return before if before and chance.random() < share else true

    return mix


def cached(first: int) -> Exchanged:
    """From a request on, each gets the reply to that one."""
    count, kept = [0], [b""]

    def mix(_: Request, true: bytes) -> bytes:
        count[0] += 1
        if count[0] == first:
            kept[0] = true
        return kept[0] or true

    return mix


def stamping(mix: Exchanged) -> Mix:
    """The proxy adds a number of its own to each reply, also to one that it sends again."""
    count = itertools.count()

    def stamped(request: Request, true: bytes) -> bytes:
        payload = json.loads(mix(request, true).partition(b"\r\n\r\n")[2])
        return http(json.dumps({**payload, "took": next(count)}).encode())

    return stamped


def swapped(share: float) -> Mix:
    """Two requests in flight get each other's reply."""
    chance = random.Random(0)
    waiting: list[tuple[bytes, asyncio.Future[bytes]]] = []

    def mix(_: Request, true: bytes) -> Action | bytes:
        if waiting:
            other, future = waiting.pop()
            if not future.done():
                future.set_result(true)
                return other
        if chance.random() >= share:
            return true

        async def act(exchange: Exchange) -> None:
            future = asyncio.get_running_loop().create_future()
            waiting.append((true, future))
            try:
                await exchange.send(await asyncio.wait_for(future, 0.05))
            except TimeoutError:
                waiting.clear()
                await exchange.send(true)

        return act

    return mix


def behind(share: float, stray: Callable[[], Any]) -> Mix:
    """Before a share of the replies, one comes that nobody here has asked for."""
    chance = random.Random(0)

    def mix(_: Request, true: bytes) -> bytes:
        extra = http(json.dumps(stray()).encode()) if chance.random() < share else b""
        return extra + true

    return mix


def unlike(*replies: Callable[[Request], bytes], by: Callable[[Request, int], int]) -> Answer:
    """Several servers behind one address: the rule names the one that answers a request.

    Args:
        replies: The true reply of each server.
        by: From a request, and the number of requests for pooled output before it, to a server.
    """
    count = [0]

    def answer(request: Request) -> Action:
        chosen = replies[by(request, count[0])]
        count[0] += request.path == POOLING
        return sending(chosen(request))

    return answer


def reply_of(fake: TextVllm) -> Callable[[Request], bytes]:
    """The true replies of a fake; its pooled output names the request, as vLLM's does."""

    def reply(request: Request) -> bytes:
        status, payload = fake.true_answer(request.path, request.json)
        if "id" in payload:
            payload["id"] = f"pool-{request.id}"
        return http(json.dumps(payload).encode(), status)

    return reply
