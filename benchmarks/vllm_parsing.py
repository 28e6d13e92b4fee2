"""The time in which vLLM parses a request of 32 samples. Runs in vLLM's environment."""

from __future__ import annotations

import statistics
import time

from benchmarks.baselines import BATCH_SIZE
from benchmarks.results import Run
from benchmarks.workload import read

_TIMES = 5


def measure(work: str) -> dict[str, Run]:
    """Time the validation of each kind of body, from parsed JSON to vLLM's own object."""
    from pydantic import TypeAdapter
    from vllm.entrypoints.pooling.embed.protocol import EmbeddingRequest
    from vllm.entrypoints.pooling.pooling.protocol import PoolingRequest

    _, measured = read(work)
    ids = {"model": "model", "input": measured.ids[:BATCH_SIZE]}
    messages = {"model": "model", "messages": measured.conversations[:BATCH_SIZE]}
    pooling, embeddings = TypeAdapter(PoolingRequest), TypeAdapter(EmbeddingRequest)
    bodies = {
        "token IDs to /pooling": (pooling, ids),
        "token IDs to /v1/embeddings": (embeddings, ids),
        "conversations to /v1/embeddings": (embeddings, messages),
    }
    found: dict[str, Run] = {}
    for name, (adapter, body) in bodies.items():
        times = []
        for _ in range(_TIMES):
            started = time.perf_counter()
            adapter.validate_python(body)
            times.append(time.perf_counter() - started)
        found[name] = {"milliseconds": statistics.median(times) * 1000}
    return found
