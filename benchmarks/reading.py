"""What vLLM takes to read a request of 32 samples, before it does anything. Runs where vLLM is."""

from __future__ import annotations

import statistics
import time

from benchmarks.figures import Run
from benchmarks.ways import PACK
from benchmarks.workload import read

_TIMES = 5


def measure(work: str) -> dict[str, Run]:
    """The body of each kind, from what its JSON holds to vLLM's own object."""
    from pydantic import TypeAdapter
    from vllm.entrypoints.pooling.embed.protocol import EmbeddingRequest
    from vllm.entrypoints.pooling.pooling.protocol import PoolingRequest

    _, measured = read(work)
    ids = {"model": "model", "input": measured.ids[:PACK]}
    messages = {"model": "model", "messages": measured.conversations[:PACK]}
    pooling, embeddings = TypeAdapter(PoolingRequest), TypeAdapter(EmbeddingRequest)
    kinds = {
        "token IDs to /pooling": (pooling, ids),
        "token IDs to /v1/embeddings": (embeddings, ids),
        "conversations to /v1/embeddings": (embeddings, messages),
    }
    found: dict[str, Run] = {}
    for name, (adapter, body) in kinds.items():
        taken = []
        for _ in range(_TIMES):
            started = time.perf_counter()
            adapter.validate_python(body)
            taken.append(time.perf_counter() - started)
        found[name] = {"milliseconds": statistics.median(taken) * 1000}
    return found
