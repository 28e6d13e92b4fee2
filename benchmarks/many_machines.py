"""Ray on a local cluster of two nodes, beside one process: rows a second, and no row lost.

    python -m benchmarks.many_machines [ROWS] [FILES]

It needs the extra `ray`, and is no part of `python -m benchmarks`: two nodes of one machine share
its cores, so that only the cost of Ray shows, and no gain. Each way writes all rows; their IDs and
values are compared with the right ones.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from pyarrow import dataset, parquet
from ray.cluster_utils import Cluster

from benchmarks.null_server import value
from benchmarks.overhead import samples, servers
from reward_client import RewardClient
from reward_client.files import score_file
from reward_client.integrations.ray import RewardScorer, score_files

TOKENS = 128
_GROUP = 10_000
_SCHEMA = pa.schema([("id", pa.int64()), ("token_ids", pa.list_(pa.int32()))])
_KILLED_AT = 0.4
"""The part of the rows after which a node dies."""


def write_shards(folder: Path, count: int, files: int) -> None:
    folder.mkdir()
    rows = enumerate(samples(count, TOKENS))
    size = -(-count // files)
    for part in range(files):
        with parquet.ParquetWriter(folder / f"part-{part:03}.parquet", _SCHEMA) as writer:
            left = size
            while group := [*islice(rows, min(left, _GROUP))]:
                left -= len(group)
                ids, lists = zip(*group, strict=True)
                writer.write_table(pa.table({"id": ids, "token_ids": lists}, schema=_SCHEMA))


def check(folder: Path, count: int) -> None:
    """Check that each row is there once, with its value."""
    table = dataset.dataset(folder, format="parquet").to_table(columns=["id", "reward"])
    table = table.sort_by("id")
    assert table["id"].to_pylist() == list(range(count)), "a row is missing, or is there twice"
    right = [value(sample) for sample in samples(count, TOKENS)]
    assert table["reward"].to_pylist() == right, "a reward is wrong"


def one_process(url: str, rows: Path, out: Path) -> None:
    out.mkdir()
    with RewardClient(url) as client:
        score_file(client, rows, out / "all.parquet")
    for name in ("all.parquet.rewards.jsonl", "all.parquet.settings.json"):
        (out / name).unlink()


def by_files(url: str, rows: Path, out: Path) -> None:
    with RewardClient(url) as client:
        score_files(client, rows, out)


def by_rows(url: str, rows: Path, out: Path) -> None:
    scored = ray.data.read_parquet(str(rows)).map_batches(
        RewardScorer,
        fn_constructor_kwargs={"base_url": url},
        compute=ray.data.ActorPoolStrategy(size=2),
        num_cpus=0.1,  # actors that hold all CPUs of the node that is left would stop the job
        batch_size=4096,
        batch_format="pyarrow",
    )
    scored.write_parquet(str(out))


def killing(way: Callable[..., None], cluster: Any, count: int) -> Callable[..., None]:
    """Return a way in whose middle a node dies. Another one comes for the next."""

    def kill(victim: Any, out: Path, ended: threading.Event) -> None:
        while not ended.wait(0.2):
            if _written(out) >= _KILLED_AT * count:
                cluster.remove_node(victim, allow_graceful=False)
                print("  a node was killed", flush=True)
                return

    def run(url: str, rows: Path, out: Path) -> None:
        (victim,) = cluster.worker_nodes
        ended = threading.Event()
        thread = threading.Thread(target=kill, args=(victim, out, ended))
        thread.start()
        try:
            way(url, rows, out)
        finally:
            ended.set()
            thread.join()
        cluster.add_node(num_cpus=2)

    return run


def _written(out: Path) -> int:
    """Return about the number of rows that are written so far."""
    lines = 0
    for path in out.rglob("*.rewards.jsonl"):
        lines += path.stat().st_size // 100
    for path in out.glob("*.parquet"):
        try:
            lines += parquet.read_metadata(path).num_rows
        except (OSError, pa.ArrowInvalid):
            continue  # it is being written
    return lines


def main(count: int, files: int) -> None:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 2, "include_dashboard": False},
    )
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    ways: dict[str, Callable[..., None]] = {
        "one process": one_process,
        "files on two nodes": by_files,
        "files on two nodes, one killed": killing(by_files, cluster, count),
        "rows on two nodes": by_rows,
        "rows on two nodes, one killed": killing(by_rows, cluster, count),
    }
    with tempfile.TemporaryDirectory() as folder, servers(2) as urls:
        rows, out = Path(folder, "rows"), Path(folder, "out")
        write_shards(rows, count, files)
        for name, way in ways.items():
            started = time.perf_counter()
            way(urls, rows, out)
            seconds = time.perf_counter() - started
            check(out, count)
            print(f"{name}: {count / seconds:,.0f} rows/s, {seconds:.0f} s", flush=True)
            shutil.rmtree(out)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(given[0] if given else 1_000_000, given[1] if len(given) > 1 else 20)
