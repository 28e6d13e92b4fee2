"""Where contestants run on a real vLLM: checkpoints, samples, and one server at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

from benchmarks import offline, reading, workload
from benchmarks.contestants import TOKEN_IDS
from benchmarks.conversations import FROM_CONVERSATIONS, IN_PACKS
from benchmarks.figures import Run, Settings, compete
from benchmarks.measuring import timed
from benchmarks.process import call
from benchmarks.ways import PACK, Samples, Target
from tests.server.servers import MODEL_NAME, Stand
from tests.server.torch_process import TorchProcess

WAYS = {**TOKEN_IDS, **FROM_CONVERSATIONS, **IN_PACKS}
_TOLERANCE = 1e-4


class Cell(NamedTuple):
    """A row of a table: a way to score, and a route.

    Attributes:
        way: A key of `WAYS`.
        route: A key of `ways.ROUTES`; reward_client finds its own.
    """

    way: str
    route: str


Cells = Mapping[str, Cell]


def measure(way: str, target: list[str], work: str) -> Run:
    """For a process of its own."""
    warm_up, measured = workload.read(work)
    before: Samples
    samples: Samples
    if way in TOKEN_IDS:
        before, samples = warm_up.ids, measured.ids
    else:
        before, samples = warm_up.conversations, measured.conversations
    return timed(WAYS[way], Target(*target), before, samples, measured.values, _TOLERANCE)


class Course:
    """The checkpoints and samples of a run.

    Args:
        settings: How much is measured.
        server_python: Of the environment with vLLM.
        folder: For files that are no longer needed in the end.
        torch: What makes the checkpoint, and says what is right.

    Attributes:
        score_head: A checkpoint.
        exported: The same, exported.
        several: Conversations of all lengths.
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
        self.several, self.best_of = folder / "several.json", folder / "best-of.json"
        count = max(2 * PACK, settings.count(workload.COUNT))
        chats = {self.several: workload.conversations, self.best_of: workload.best_of}
        for path, make in chats.items():
            workload.write(path, make(count), self.score_head, torch)

    @contextmanager
    def served(self, checkpoint: Path, *, prefix_caching: bool) -> Iterator[Target]:
        """A server, while it is needed."""
        caching = "--enable-prefix-caching" if prefix_caching else "--no-enable-prefix-caching"
        # Lets the prefix cache be emptied.
        with patch.dict(os.environ, {"VLLM_SERVER_DEV_MODE": "1"}):
            server = self._stand.serve(checkpoint, "--dtype", "float32", caching)
        try:
            server.wait_until_healthy()
            yield Target(server.url, MODEL_NAME, tokenizer=str(checkpoint))
        finally:
            self._stand.stop()

    def runs(self, target: Target, cells: Cells, work: Path) -> dict[str, Sequence[Run | None]]:
        """What was measured of each, which began with an empty prefix cache."""
        import httpx

        def measured(name: str) -> Run:
            way, route = cells[name]
            httpx.post(f"{target.url}/reset_prefix_cache").raise_for_status()
            return call(measure, way=way, target=target._replace(route=route), work=str(work))

        return compete(tuple(cells), self._settings.rounds, measured)

    def reading(self) -> dict[str, Sequence[Run | None]]:
        """What the server takes to read requests, in each round."""
        runs: dict[str, list[Run | None]] = {}
        for _ in range(self._settings.rounds):
            found = call(reading.measure, python=self._python, work=str(self.several))
            for name, run in found.items():
                runs.setdefault(name, []).append(run)
        return dict(runs)

    def limit(self, work: Path, *, prefix_caching: bool) -> list[Run]:
        """What the engine takes without a server, in each round."""
        return call(
            offline.measure,
            python=self._python,
            environment=offline.ENVIRONMENT,
            checkpoint=str(self.score_head),
            work=str(work),
            rounds=self._settings.rounds,
            prefix_caching=prefix_caching,
        )
