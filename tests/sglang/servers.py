"""Real SGLang servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..real import servers
from ..real.servers import MODEL_NAME
from .install import STUBS

if TYPE_CHECKING:
    from pathlib import Path

# Plain torch on the CPU, and room for the tests' samples.
_OPTIONS = (
    *("--device", "cpu", "--dtype", "float32", "--tp", "1"),
    *("--attention-backend", "torch_native", "--sampling-backend", "pytorch"),
    *("--disable-cuda-graph", "--disable-overlap-schedule"),
    *("--max-total-tokens", "16384"),
)
ENVIRONMENT = {
    "PYTHONPATH": str(STUBS),
    "HF_HUB_OFFLINE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TOKENIZERS_PARALLELISM": "false",
}


class Stand(servers.Stand):
    """The place of an `sglang.launch_server`."""

    def _command(self, folder: Path, port: int) -> list[str | Path]:
        return [
            *(self._python, "-m", "sglang.launch_server", "--model-path", folder),
            *("--served-model-name", MODEL_NAME, "--host", "127.0.0.1", "--port", str(port)),
            *_OPTIONS,
        ]

    def _environment(self) -> dict[str, str]:
        return {**ENVIRONMENT, "SGLANG_USE_CPU_ENGINE": "1", "OMP_NUM_THREADS": "1"}
