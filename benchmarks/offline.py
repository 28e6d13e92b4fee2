"""The limit: the same engine without a server, on all token IDs. Runs in vLLM's environment."""

from __future__ import annotations

import os
import time

from benchmarks.results import Run
from benchmarks.timing import check
from benchmarks.workload import read

ENVIRONMENT = {
    # The server's engine has as many threads: vLLM keeps one core for its other work.
    "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) - 1)),
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


def measure(checkpoint: str, work: str, rounds: int, *, prefix_caching: bool) -> list[Run]:
    """Time each round."""
    from vllm import LLM, PoolingParams

    llm = LLM(
        checkpoint,
        runner="pooling",
        dtype="float32",
        enforce_eager=True,
        max_model_len=1024,
        enable_prefix_caching=prefix_caching,
        distributed_executor_backend="uni",
    )
    warm_up, measured = read(work)

    def values(ids: list[list[int]]) -> list[float]:
        prompts = [{"prompt_token_ids": prompt} for prompt in ids]
        outputs = llm.encode(
            prompts,
            PoolingParams(use_activation=False),
            pooling_task="classify",
            use_tqdm=False,
        )
        return [output.outputs.data.item() for output in outputs]

    values(warm_up.ids)
    runs: list[Run] = []
    for _ in range(rounds):
        llm.reset_prefix_cache()
        started = time.perf_counter()
        found = values(measured.ids)
        seconds = time.perf_counter() - started
        check(found, measured.values, 1e-4)
        runs.append({"per_second": len(found) / seconds})
    return runs
