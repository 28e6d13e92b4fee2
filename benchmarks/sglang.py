"""SGLang: batches beside one request for each sample, on an instant server and on a real one.

`/classify` answers a list of token-ID lists in order, without their indexes. So the client has to
prove which item belongs to which sample, and this part shows that batches pay nevertheless.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks import overhead, workload
from benchmarks.baselines import BATCH_SIZE, Target
from benchmarks.competitors import OURS, OURS_SINGLE
from benchmarks.process import call
from benchmarks.real_server import measure
from benchmarks.results import Json, Run, Runs, Settings, compete, findings, goal, ratios, table
from tests.real.servers import MODEL_NAME
from tests.real.torch_process import TorchProcess
from tests.sglang.servers import ENVIRONMENT, Stand

_MIN_RATIO = 2.0


def run(settings: Settings) -> Json:
    tables = {"An instant server": _instant(settings)}
    if settings.sglang_python is not None:
        tables["A real SGLang 0.5.23"] = _real(settings, Path(settings.sglang_python))
    return findings(
        *(
            table(f"{server}: batches of {BATCH_SIZE}, or one by one", runs)
            for server, runs in tables.items()
        ),
        goals=[
            goal(
                f"{server}, samples/s: batches ÷ one by one",
                ratios(runs, OURS, OURS_SINGLE),
                at_least=_MIN_RATIO,
            )
            for server, runs in tables.items()
        ],
    )


def _instant(settings: Settings) -> Runs:
    counts: Mapping[str, int] = {
        OURS: settings.count(overhead.SAMPLES),
        OURS_SINGLE: settings.count(overhead.FEWER),
    }
    with overhead.servers(engine="sglang") as (url,):

        def measured(name: str) -> Run:
            return call(overhead.measure, name=name, url=url, count=counts[name])

        return compete(tuple(counts), settings.rounds, measured)


def _real(settings: Settings, python: Path) -> Runs:
    with tempfile.TemporaryDirectory() as temporary, TorchProcess(python, ENVIRONMENT) as torch:
        folder = Path(temporary)
        checkpoint, work = folder / "score-head", folder / "mixed.json"
        workload.make_checkpoint(checkpoint, torch)
        chats = workload.conversations(max(2 * BATCH_SIZE, settings.count(workload.COUNT)))
        workload.write(work, chats, checkpoint, torch)
        stand = Stand(python, folder)
        # The same conversations come again in each round: their prefixes are not to be cached.
        server = stand.serve(checkpoint, "--is-embedding", "--disable-radix-cache")
        try:
            target = Target(server.wait_until_healthy().url, MODEL_NAME)

            def measured(name: str) -> Run:
                return call(measure, competitor=name, target=target, work=str(work))

            return compete((OURS, OURS_SINGLE), settings.rounds, measured)
        finally:
            stand.stop()
