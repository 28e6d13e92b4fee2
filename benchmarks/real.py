"""A real vLLM on the CPU, by this client, by others and by hand.

Four servers, one after the other: a score head and its export; each without prefix caching, for
conversations that are scored again and again, and with it, emptied before each run, for best-of-16.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import latency, workload
from benchmarks.contestants import BY_HAND, OURS, TOKEN_IDS
from benchmarks.conversations import (
    BATCHED,
    BATCHED_BY_HAND,
    EACH_AIOHTTP,
    EACH_HTTPX,
    EACH_MESSAGES,
    FROM_CONVERSATIONS,
    IN_PACKS,
    LOCAL,
    LOCAL_BY_HAND,
    SERVER,
    SERVER_BY_HAND,
)
from benchmarks.course import Cell, Cells, Course
from benchmarks.figures import Json, Run, Runs, Settings, demand, findings, ratios, table
from tests.server.torch_process import TorchProcess

LATENCIES = 200
OFFLINE = "LLM.encode, token IDs, no server"
_POOLING, _EMBEDDINGS = " to /pooling", " to /v1/embeddings"


def _on(route: str, names: Iterable[str], suffix: str = "") -> Cells:
    return {name + suffix: Cell(name, route) for name in names}


SCORE_HEAD_ROUTES = {"score head: token IDs to /pooling": Cell(BY_HAND, "classify")}
EXPORTED_ROUTES = {
    "exported: token IDs to /pooling": Cell(BY_HAND, "embed"),
    "exported: token IDs to /v1/embeddings": Cell(BY_HAND, "embeddings"),
    "exported: conversations to /v1/embeddings": Cell(BATCHED_BY_HAND, "embeddings"),
}
EXPORTED = {
    **_on("embeddings", [*IN_PACKS, SERVER, OURS]),
    **_on("embed", [BY_HAND, SERVER_BY_HAND, EACH_AIOHTTP], _POOLING),
    **_on("embeddings", [BY_HAND, SERVER_BY_HAND, EACH_AIOHTTP, EACH_MESSAGES], _EMBEDDINGS),
}
BEST_OF = (LOCAL, LOCAL_BY_HAND, SERVER, SERVER_BY_HAND, EACH_MESSAGES, EACH_AIOHTTP, OURS, BY_HAND)


def run(settings: Settings) -> Json:
    assert settings.server_python is not None
    with (
        tempfile.TemporaryDirectory() as folder,
        TorchProcess(Path(settings.server_python)) as torch,
    ):
        course = Course(settings, Path(settings.server_python), Path(folder), torch)
        with course.served(course.score_head, prefix_caching=False) as target:
            ids = course.runs(target, _on("classify", TOKEN_IDS), course.several)
            chats = course.runs(target, _on("classify", FROM_CONVERSATIONS), course.several)
            routes = _named("off", course.runs(target, SCORE_HEAD_ROUTES, course.best_of))
            once = latency.compared(target, settings, LATENCIES, "vLLM")
        with course.served(course.exported, prefix_caching=False) as target:
            exported = course.runs(target, EXPORTED, course.several)
            routes |= _named("off", course.runs(target, EXPORTED_ROUTES, course.best_of))
        with course.served(course.score_head, prefix_caching=True) as target:
            best_of = course.runs(target, _on("classify", BEST_OF), course.best_of)
            routes |= _named("on", course.runs(target, SCORE_HEAD_ROUTES, course.best_of))
        with course.served(course.exported, prefix_caching=True) as target:
            routes |= _named("on", course.runs(target, EXPORTED_ROUTES, course.best_of))
        ids |= {OFFLINE: course.limit(course.several, prefix_caching=False)}
        reading = course.reading()
        best_of |= {OFFLINE: course.limit(course.best_of, prefix_caching=True)}
        several, sixteen = _described(course.several), _described(course.best_of)
    return findings(
        table("Score head, token IDs", ids, several),
        table("Score head, conversations", chats, several),
        table("Exported checkpoint", exported, several),
        table("Score head, best-of-16, prefix cache on", best_of, sixteen),
        table("By route, best-of-16, by hand", routes, sixteen),
        table(
            "Reading a request of 32 of the conversations, in vLLM's API server",
            reading,
            compared=False,
        ),
        *once["tables"],
        demands=[*_of_score_head(ids, chats), *_of_exported(exported), *once["demands"]],
        remarks=()
        if BATCHED in IN_PACKS
        else (f"Not measured: {BATCHED}, which is not there yet.",),
    )


def _named(caching: str, runs: Runs) -> dict[str, Sequence[Run | None]]:
    return {f"{name}, prefix cache {caching}": each for name, each in runs.items()}


def _described(work: Path) -> str:
    _, measured = workload.read(str(work))
    lengths = [len(ids) for ids in measured.ids]
    mean = statistics.fmean(lengths)
    count, least, most = len(lengths), min(lengths), max(lengths)
    return f"{count:,} conversations of {least} to {most} tokens, {mean:.0f} on average."


def _of_score_head(ids: Runs, chats: Runs) -> list[Json]:
    return [
        demand(
            "token IDs: score_many ÷ the same packs by hand",
            ratios(ids, OURS, BY_HAND),
            at_least=0.95,
        ),
        *(
            demand(f"{one} ÷ {other}", ratios(chats, one, other), at_least=least)
            for one, other, least in (
                (LOCAL, LOCAL_BY_HAND, 0.95),
                (LOCAL, EACH_HTTPX, 15),
                (LOCAL, EACH_AIOHTTP, 3),
                (SERVER, SERVER_BY_HAND, 0.95),
            )
        ),
    ]


def _of_exported(exported: Runs) -> list[Json]:
    """By the quicker one of the two routes that token IDs can take."""
    return [
        demand(f"exported: {BATCHED} ÷ {other}", ratios(exported, BATCHED, other), at_least=1.5)
        for other in (EACH_AIOHTTP + _POOLING, SERVER_BY_HAND + _POOLING)
    ]
