"""How long one score takes, beside the two requests that it cannot do without."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from benchmarks.contestants import client
from benchmarks.figures import Json, Run, Runs, Settings, demand, findings, ratios, table
from benchmarks.instant import servers
from benchmarks.instant_server import MODEL
from benchmarks.measuring import check
from benchmarks.process import call
from benchmarks.ways import ROUTES, Target
from benchmarks.workload import conversations

COUNT = 500
_WARM_UP = 20
_KINDS = {"async": 1.3, "sync": 1.5}
"""How many times the bare requests a score may take."""

Conversation = list[dict[str, str]]


def names(kind: str) -> tuple[str, str]:
    bare = "AsyncClient" if kind == "async" else "Client"
    return f"score(), {kind}", f"two bare requests by httpx.{bare}"


def measure(kind: str, target: Sequence[str], count: int) -> dict[str, Run]:
    """Both in turns, in one process: {name: median}."""
    chats = conversations(count + _WARM_UP)
    of_kind = _of_async if kind == "async" else _of_sync
    ours, bare = of_kind(Target(*target), chats)
    check([value for _, value in ours], [value for _, value in bare], 1e-4)
    return {
        name: {"milliseconds": statistics.median(taken for taken, _ in each[_WARM_UP:]) * 1000}
        for name, each in zip(names(kind), (ours, bare), strict=True)
    }


Taken = list[tuple[float, float]]
"""Seconds and value of each."""


def _of_sync(target: Target, chats: Sequence[Conversation]) -> tuple[Taken, Taken]:
    import httpx

    ours: Taken = []
    bare: Taken = []
    with client(target) as scorer, httpx.Client(base_url=target.url, timeout=600) as http:

        def by_score(chat: Conversation) -> float:
            return scorer.score(chat).value

        def by_hand(chat: Conversation) -> float:
            ids = http.post("/tokenize", json=_tokenize(target, chat)).json()["tokens"]
            return _value(target, http.post(_path(target), json=_body(target, ids)).json())

        for place, chat in enumerate(chats):
            both: list[tuple[Callable[[Conversation], float], Taken]]
            both = [(by_score, ours), (by_hand, bare)]
            for score, taken in both if place % 2 else reversed(both):
                started = time.perf_counter()
                value = score(chat)
                taken.append((time.perf_counter() - started, value))
    return ours, bare


def _of_async(target: Target, chats: Sequence[Conversation]) -> tuple[Taken, Taken]:
    import httpx

    from reward_client import AsyncRewardClient

    ours: Taken = []
    bare: Taken = []

    async def main() -> None:
        async with (
            AsyncRewardClient(target.url, model=target.model) as scorer,
            httpx.AsyncClient(base_url=target.url, timeout=600) as http,
        ):

            async def by_score(chat: Conversation) -> float:
                return (await scorer.score(chat)).value

            async def by_hand(chat: Conversation) -> float:
                response = await http.post("/tokenize", json=_tokenize(target, chat))
                ids = response.json()["tokens"]
                response = await http.post(_path(target), json=_body(target, ids))
                return _value(target, response.json())

            for place, chat in enumerate(chats):
                both: list[tuple[Callable[[Conversation], Awaitable[float]], Taken]]
                both = [(by_score, ours), (by_hand, bare)]
                for score, taken in both if place % 2 else reversed(both):
                    started = time.perf_counter()
                    value = await score(chat)
                    taken.append((time.perf_counter() - started, value))

    asyncio.run(main())
    return ours, bare


def _tokenize(target: Target, chat: Conversation) -> Mapping[str, Any]:
    return {"model": target.model, "messages": chat, "add_generation_prompt": False}


def _path(target: Target) -> str:
    return ROUTES[target.route].path


def _body(target: Target, ids: list[int]) -> Mapping[str, Any]:
    return {"model": target.model, "input": [ids], **ROUTES[target.route].body}


def _value(target: Target, response: Any) -> float:
    value: float = response["data"][0][ROUTES[target.route].key][0]
    return value


def compared(target: Target, settings: Settings, count: int, where: str) -> Json:
    """The table and the demands for one server."""
    runs: dict[str, list[Run | None]] = {}
    for _ in range(settings.rounds):
        for kind in _KINDS:
            measured = call(measure, kind=kind, target=target, count=settings.count(count))
            for name, run in measured.items():
                runs.setdefault(name, []).append(run)
    return _result(runs, where)


def _result(runs: Runs, where: str) -> Json:
    return findings(
        *(
            table(
                f"{where}: {kind}, medians of conversations one after the other",
                {name: runs[name] for name in names(kind)},
            )
            for kind in _KINDS
        ),
        demands=[
            demand(
                f"{where}: {' ÷ '.join(names(kind))}",
                ratios(runs, *names(kind), "milliseconds"),
                at_most=most,
            )
            for kind, most in _KINDS.items()
        ],
    )


def run(settings: Settings) -> Json:
    with servers() as (url,):
        return compared(Target(url, MODEL), settings, COUNT, "Instant server")
