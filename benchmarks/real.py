"""A real vLLM on the CPU: reward_client, other clients and hand-written loops.

Four servers run one after the other: a score head and its export, each without and with prefix
caching. Without it, the competitors score the same conversations again and again. With it, they
score best-of-16, and each run starts with an empty prefix cache.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks import latency, workload
from benchmarks.competitors import BY_HAND, OURS, TOKEN_IDS
from benchmarks.conversations import (
    CONVERSATIONS,
    LOCAL,
    LOCAL_BY_HAND,
    MESSAGE_BATCHES,
    MESSAGES,
    MESSAGES_BY_HAND,
    SERVER,
    SERVER_BY_HAND,
    SINGLE_AIOHTTP,
    SINGLE_HTTPX,
    SINGLE_MESSAGES,
)
from benchmarks.real_server import Cell, Cells, RealServer
from benchmarks.results import Json, Run, Runs, Settings, findings, goal, ratios, table
from tests.real.torch_process import TorchProcess

LATENCIES = 200
OFFLINE = "LLM.encode, token IDs, no server"
_POOLING, _EMBEDDINGS = " to /pooling", " to /v1/embeddings"


def _on(route: str, names: Iterable[str], suffix: str = "") -> Cells:
    return {name + suffix: Cell(name, route) for name in names}


SCORE_HEAD_ROUTES = {"score head: token IDs to /pooling": Cell(BY_HAND, "classify")}
EXPORTED_ROUTES = {
    "exported: token IDs to /pooling": Cell(BY_HAND, "embed"),
    "exported: token IDs to /v1/embeddings": Cell(BY_HAND, "embeddings"),
    "exported: conversations to /v1/embeddings": Cell(MESSAGES_BY_HAND, "embeddings"),
}
EXPORTED = {
    **_on("embeddings", [*MESSAGE_BATCHES, SERVER, OURS]),
    **_on("embed", [BY_HAND, SERVER_BY_HAND, SINGLE_AIOHTTP], _POOLING),
    **_on("embeddings", [BY_HAND, SERVER_BY_HAND, SINGLE_AIOHTTP, SINGLE_MESSAGES], _EMBEDDINGS),
}
BEST_OF = (
    *(LOCAL, LOCAL_BY_HAND, SERVER, SERVER_BY_HAND),
    *(SINGLE_MESSAGES, SINGLE_AIOHTTP, OURS, BY_HAND),
)


def run(settings: Settings) -> Json:
    assert settings.server_python is not None
    with (
        tempfile.TemporaryDirectory() as folder,
        TorchProcess(Path(settings.server_python)) as torch,
    ):
        vllm = RealServer(settings, Path(settings.server_python), Path(folder), torch)
        with vllm.served(vllm.score_head, prefix_caching=False) as target:
            ids = vllm.runs(target, _on("classify", TOKEN_IDS), vllm.mixed)
            chats = vllm.runs(target, _on("classify", CONVERSATIONS), vllm.mixed)
            routes = _named("off", vllm.runs(target, SCORE_HEAD_ROUTES, vllm.best_of))
            latencies = latency.compared(target, settings, LATENCIES, "vLLM")
        with vllm.served(vllm.exported, prefix_caching=False) as target:
            exported = vllm.runs(target, EXPORTED, vllm.mixed)
            routes |= _named("off", vllm.runs(target, EXPORTED_ROUTES, vllm.best_of))
        with vllm.served(vllm.score_head, prefix_caching=True) as target:
            best_of = vllm.runs(target, _on("classify", BEST_OF), vllm.best_of)
            routes |= _named("on", vllm.runs(target, SCORE_HEAD_ROUTES, vllm.best_of))
        with vllm.served(vllm.exported, prefix_caching=True) as target:
            routes |= _named("on", vllm.runs(target, EXPORTED_ROUTES, vllm.best_of))
        ids |= {OFFLINE: vllm.limit(vllm.mixed, prefix_caching=False)}
        parsing = vllm.parsing()
        best_of |= {OFFLINE: vllm.limit(vllm.best_of, prefix_caching=True)}
        mixed, sixteen = _described(vllm.mixed), _described(vllm.best_of)
    return findings(
        table("Score head, token IDs", ids, mixed),
        table("Score head, conversations", chats, mixed),
        table("Exported checkpoint", exported, mixed),
        table("Score head, best-of-16, prefix cache on", best_of, sixteen),
        table("By route, best-of-16, by hand", routes, sixteen),
        table(
            "Parsing of a request of 32 of the conversations, in vLLM's API server",
            parsing,
            compared=False,
        ),
        *latencies["tables"],
        goals=[*_of_score_head(ids, chats), *_of_exported(exported), *latencies["goals"]],
    )


def _named(caching: str, runs: Runs) -> dict[str, Sequence[Run | None]]:
    return {f"{name}, prefix cache {caching}": rounds for name, rounds in runs.items()}


def _described(work: Path) -> str:
    _, measured = workload.read(str(work))
    lengths = [len(ids) for ids in measured.ids]
    mean = statistics.fmean(lengths)
    count, shortest, longest = len(lengths), min(lengths), max(lengths)
    return f"{count:,} conversations of {shortest} to {longest} tokens, {mean:.0f} on average."


def _of_score_head(ids: Runs, chats: Runs) -> list[Json]:
    return [
        goal(
            "token IDs: score_many ÷ the same batches by hand",
            ratios(ids, OURS, BY_HAND),
            at_least=0.95,
        ),
        *(
            goal(f"{one} ÷ {other}", ratios(chats, one, other), at_least=bound)
            for one, other, bound in (
                (LOCAL, LOCAL_BY_HAND, 0.95),
                (LOCAL, SINGLE_HTTPX, 15),
                (LOCAL, SINGLE_AIOHTTP, 3),
                (SERVER, SERVER_BY_HAND, 0.95),
            )
        ),
    ]


def _of_exported(exported: Runs) -> list[Json]:
    """Compare with token IDs on `/pooling`, the quicker of their two routes."""
    return [
        goal(f"exported: {MESSAGES} ÷ {other}", ratios(exported, MESSAGES, other), at_least=1.5)
        for other in (SINGLE_AIOHTTP + _POOLING, SERVER_BY_HAND + _POOLING)
    ]
