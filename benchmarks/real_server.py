"""Runs of the competitors on a real vLLM: checkpoints, samples, and one server at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from benchmarks import offline, vllm_parsing, workload
from benchmarks.baselines import BATCH_SIZE, Samples, Target
from benchmarks.competitors import TOKEN_IDS
from benchmarks.conversations import CONVERSATIONS, MESSAGE_BATCHES
from benchmarks.process import call
from benchmarks.results import Run, Settings, compete
from benchmarks.timing import timed
from tests.real.torch_process import TorchProcess
from tests.vllm.servers import MODEL_NAME, Stand

COMPETITORS = {**TOKEN_IDS, **CONVERSATIONS, **MESSAGE_BATCHES}
_TOLERANCE = 1e-4


class Cell(NamedTuple):
    """A row of a table: a competitor and a route.

    Attributes:
        competitor: A key of `COMPETITORS`.
        route: A key of `baselines.ROUTES`; reward_client finds its route itself.
    """

    competitor: str
    route: str


Cells = Mapping[str, Cell]


def measure(competitor: str, target: list[str], work: str) -> Run:
    """Time one competitor; runs in a process of its own."""
    warm_up, measured = workload.read(work)
    before: Samples
    samples: Samples
    if competitor in TOKEN_IDS:
        before, samples = warm_up.ids, measured.ids
    else:
        before, samples = warm_up.conversations, measured.conversations
    return timed(
        COMPETITORS[competitor], Target(*target), before, samples, measured.values, _TOLERANCE
    )


class RealServer:
    """The checkpoints and samples of a run, and its servers.

    Args:
        settings: The options of the run.
        server_python: The interpreter of an environment with vLLM.
        folder: A folder for temporary files.
        torch: The process that makes the checkpoint and computes the right rewards.

    Attributes:
        score_head: A checkpoint with a score head.
        exported: The export of the same checkpoint.
        mixed: Conversations of all lengths.
        best_of: Prompts with 16 responses each.
    """

    def __init__(
        self, settings: Settings, server_python: Path, folder: Path, torch: TorchProcess
    ) -> None:
        from reward_client.export import export_checkpoint

        self._settings = settings
        self._python = server_python
        self._stand = Stand(server_python, folder)
        self.score_head, self.exported = folder / "score-head", folder / "exported"
        workload.make_checkpoint(self.score_head, torch)
        export_checkpoint(self.score_head, self.exported)
        self.mixed, self.best_of = folder / "mixed.json", folder / "best-of.json"
        count = max(2 * BATCH_SIZE, settings.count(workload.COUNT))
        chats = {self.mixed: workload.conversations, self.best_of: workload.best_of}
        for path, make in chats.items():
            workload.write(path, make(count), self.score_head, torch)

    @contextmanager
    def served(self, checkpoint: Path, *, prefix_caching: bool) -> Iterator[Target]:
        """Serve a checkpoint within a with statement."""
        caching = "--enable-prefix-caching" if prefix_caching else "--no-enable-prefix-caching"
        # Development mode has the route that empties the prefix cache.
        with patch.dict(os.environ, {"VLLM_SERVER_DEV_MODE": "1"}):
            server = self._stand.serve(checkpoint, "--dtype", "float32", caching)
        try:
            server.wait_until_healthy()
            yield Target(server.url, MODEL_NAME, tokenizer=str(checkpoint))
        finally:
            self._stand.stop()

    def runs(self, target: Target, cells: Cells, work: Path) -> dict[str, Sequence[Run | None]]:
        """Time each cell in each round; every run starts with an empty prefix cache."""
        import httpx

        def measured(name: str) -> Run:
            competitor, route = cells[name]
            httpx.post(f"{target.url}/reset_prefix_cache").raise_for_status()
            return call(
                measure,
                competitor=competitor,
                target=target._replace(route=route),
                work=str(work),
            )

        return compete(tuple(cells), self._settings.rounds, measured)

    def parsing(self) -> dict[str, Sequence[Run | None]]:
        """Time the parsing of requests within vLLM in each round."""
        runs: dict[str, list[Run | None]] = {}
        for _ in range(self._settings.rounds):
            found = call(vllm_parsing.measure, python=self._python, work=str(self.mixed))
            for name, run in found.items():
                runs.setdefault(name, []).append(run)
        return dict(runs)

    def limit(self, work: Path, *, prefix_caching: bool) -> list[Run]:
        """Time the engine without a server in each round."""
        return call(
            offline.measure,
            python=self._python,
            environment=offline.ENVIRONMENT,
            checkpoint=str(self.score_head),
            work=str(work),
            rounds=self._settings.rounds,
            prefix_caching=prefix_caching,
        )
