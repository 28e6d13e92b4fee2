"""Real vLLM servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..real import servers
from ..real.servers import MAX_TOKENS, MODEL_NAME

if TYPE_CHECKING:
    from pathlib import Path


class Stand(servers.Stand):
    """The place of a `vllm serve`."""

    def _command(self, folder: Path, port: int) -> list[str | Path]:
        return [
            *(self._python.with_name("vllm"), "serve", folder, "--served-model-name", MODEL_NAME),
            *("--runner", "pooling", "--enforce-eager"),
            *("--max-model-len", str(MAX_TOKENS), "--host", "127.0.0.1", "--port", str(port)),
        ]

    def _environment(self) -> dict[str, str]:
        return {
            "HF_HUB_OFFLINE": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CACHE_ROOT": str(self._logs / "vllm-cache"),
        }
