"""Files beside the same samples in memory: rate, CPU and memory."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from benchmarks.baselines import Target
from benchmarks.competitors import client
from benchmarks.null_server import MODEL, value
from benchmarks.overhead import samples, servers
from benchmarks.process import call, peak
from benchmarks.results import Json, Run, Settings, compete, findings, goal, ratios, table

ROWS = 1_000_000
TOKENS = 128
_GROUP = 10_000
_IN_MEMORY = "score_many"
_FORMATS = {
    "JSON lines": ("in.jsonl", "out.jsonl"),
    "Parquet into JSON lines": ("in.parquet", "out.jsonl"),
    "Parquet": ("in.parquet", "out.parquet"),
}


def write_inputs(folder: str, count: int) -> int:
    """Write the same rows as JSON lines and as Parquet; runs in a process of its own."""
    schema = pa.schema([("id", pa.string()), ("token_ids", pa.list_(pa.int32()))])
    rows = _rows(count)
    with (
        Path(folder, "in.jsonl").open("w", encoding="utf-8") as lines,
        parquet.ParquetWriter(Path(folder, "in.parquet"), schema) as table_file,
    ):
        while group := [*islice(rows, _GROUP)]:
            lines.writelines(json.dumps(row) + "\n" for row in group)
            table_file.write_table(pa.Table.from_pylist(group, schema))
    return count


def measure(name: str, url: str, folder: str, count: int) -> Run:
    """Time one way through the client; runs in a process of its own."""
    from reward_client.files import score_file

    with client(Target(url, MODEL)) as scorer, tempfile.TemporaryDirectory(dir=folder) as out:
        list(scorer.score_many(samples(64, TOKENS)))
        started, cpu = time.perf_counter(), time.process_time()
        if name == _IN_MEMORY:
            found = [reward.value for reward in scorer.score_many(samples(count, TOKENS))]
        else:
            origin, target = _FORMATS[name]
            score_file(scorer, Path(folder, origin), Path(out, target))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        figures = {
            "cpu_us": cpu / count * 1e6,
            "per_second": count / seconds,
            "peak_mib": peak(),
        }
        if name != _IN_MEMORY:
            found = _written(Path(out, target))
    assert found == [value(sample) for sample in samples(count, TOKENS)]
    return figures


def _rows(count: int) -> Iterator[dict[str, object]]:
    for index, sample in enumerate(samples(count, TOKENS)):
        yield {"id": f"row {index}", "token_ids": sample}


def _written(path: Path) -> list[float]:
    if path.suffix == ".parquet":
        rewards: list[float] = parquet.read_table(path, columns=["reward"])[0].to_pylist()
        return rewards
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line)["reward"] for line in lines]


def run(settings: Settings) -> Json:
    count = settings.count(ROWS)
    with tempfile.TemporaryDirectory() as folder, servers() as (url,):
        call(write_inputs, folder=folder, count=count)

        def measured(name: str) -> Run:
            return call(measure, name=name, url=url, folder=folder, count=count)

        runs = compete((_IN_MEMORY, *_FORMATS), settings.rounds, measured)
    return findings(
        table(f"{count:,} rows of {TOKENS} token IDs", runs),
        goals=[
            goal(f"samples/s: {name} ÷ {_IN_MEMORY}", ratios(runs, name, _IN_MEMORY))
            for name in _FORMATS
        ],
    )
