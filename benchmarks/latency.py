"""The latency of one score beside that of its two requests, sent by a bare HTTP client."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from benchmarks.baselines import ROUTES, Target
from benchmarks.competitors import client
from benchmarks.null_server import MODEL
from benchmarks.overhead import servers
from benchmarks.process import call
from benchmarks.results import Json, Run, Runs, Settings, findings, goal, ratios, table
from benchmarks.timing import check
from benchmarks.workload import conversations

COUNT = 500
_WARM_UP = 20
_CLIENTS = {"async": 1.3, "sync": 1.5}
"""For each client, the largest allowed ratio of a score to the bare requests."""

Conversation = list[dict[str, str]]


def names(kind: str, label: str = "") -> tuple[str, str]:
    """Return the rows of a client and of its bare requests, beside another checkout if named."""
    bare = "AsyncClient" if kind == "async" else "Client"
    suffix = f" ({label})" if label else ""
    return f"score(), {kind}{suffix}", f"two bare requests by httpx.{bare}{suffix}"


def measure(kind: str, target: Sequence[str], count: int) -> list[Run]:
    """Time a score and the bare requests in turns, in one process, and return both medians."""
    chats = conversations(count + _WARM_UP)
    time_both = _time_async if kind == "async" else _time_sync
    ours, bare = time_both(Target(*target), chats)
    check([value for _, value in ours], [value for _, value in bare], 1e-4)
    return [
        {"milliseconds": statistics.median(seconds for seconds, _ in times[_WARM_UP:]) * 1000}
        for times in (ours, bare)
    ]


Times = list[tuple[float, float]]
"""Seconds and value of each conversation."""


def _time_sync(target: Target, chats: Sequence[Conversation]) -> tuple[Times, Times]:
    import httpx

    ours: Times = []
    bare: Times = []
    with client(target) as scorer, httpx.Client(base_url=target.url, timeout=600) as http:

        def by_score(chat: Conversation) -> float:
            return scorer.score(chat).value

        def by_hand(chat: Conversation) -> float:
            ids = http.post("/tokenize", json=_tokenize(target, chat)).json()["tokens"]
            return _value(target, http.post(_path(target), json=_body(target, ids)).json())

        for index, chat in enumerate(chats):
            both: list[tuple[Callable[[Conversation], float], Times]]
            both = [(by_score, ours), (by_hand, bare)]
            for score, times in both if index % 2 else reversed(both):
                started = time.perf_counter()
                value = score(chat)
                times.append((time.perf_counter() - started, value))
    return ours, bare


def _time_async(target: Target, chats: Sequence[Conversation]) -> tuple[Times, Times]:
    import httpx

    from reward_client import AsyncRewardClient

    ours: Times = []
    bare: Times = []

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

            for index, chat in enumerate(chats):
                both: list[tuple[Callable[[Conversation], Awaitable[float]], Times]]
                both = [(by_score, ours), (by_hand, bare)]
                for score, times in both if index % 2 else reversed(both):
                    started = time.perf_counter()
                    value = await score(chat)
                    times.append((time.perf_counter() - started, value))

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
    """Measure the latencies on one server, by this package and by the other checkouts."""
    packages: list[tuple[str, str | None]] = [("", None), *settings.packages.items()]
    runs: dict[str, list[Run | None]] = {}
    for number in range(settings.rounds):
        for kind in _CLIENTS:
            for label, folder in packages if number % 2 else reversed(packages):
                measured = call(
                    measure,
                    package=folder,
                    kind=kind,
                    target=target,
                    count=settings.count(count),
                )
                for name, run in zip(names(kind, label), measured, strict=True):
                    runs.setdefault(name, []).append(run)
    return _result(runs, where, [label for label, _ in packages])


def _result(runs: Runs, where: str, labels: Sequence[str]) -> Json:
    goals = [
        goal(
            f"{where}: {' ÷ '.join(names(kind))}",
            ratios(runs, *names(kind), "milliseconds"),
            at_most=bound,
        )
        for kind, bound in _CLIENTS.items()
    ]
    for kind in _CLIENTS:
        ours, _ = names(kind)
        for label in labels[1:]:
            theirs, _ = names(kind, label)
            what = f"{where}: {ours} ÷ the same ({label})"
            goals.append(goal(what, ratios(runs, ours, theirs, "milliseconds")))
    return findings(
        *(
            table(
                f"{where}: {kind}, medians of conversations one after the other",
                {name: runs[name] for label in labels for name in names(kind, label)},
            )
            for kind in _CLIENTS
        ),
        goals=goals,
    )


def run(settings: Settings) -> Json:
    with servers() as (url,):
        return compared(Target(url, MODEL), settings, COUNT, "Null server")
