"""The costs of an export (memory, time and disk) for a checkpoint of 8 GB and for a large head.

Each export runs in a process of its own. Its peak memory is the largest resident set, less that of
the same process right after the imports. The folder for temporary files needs twice the size of
the checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.process import call, peak
from benchmarks.results import Json, Run, Settings, findings, goal, table

MEGABYTE, MEBIBYTE = 10**6, 2**20
ALLOWED = 64
"""MiB, besides the head."""
GIGABYTES = 8
LINKS = {"hard": "hard links", "symbolic": "symbolic links", "copy": "copies"}

Shapes = Mapping[str, tuple[int, ...]]


def llama(hidden: int, layers: int, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a Llama 3, whose MLP is 3.5 times as wide as its hidden states."""
    wide, narrow = hidden * 7 // 2, hidden // 4
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        shapes |= {
            f"{prefix}.input_layernorm.weight": (hidden,),
            f"{prefix}.mlp.down_proj.weight": (hidden, wide),
            f"{prefix}.mlp.gate_proj.weight": (wide, hidden),
            f"{prefix}.mlp.up_proj.weight": (wide, hidden),
            f"{prefix}.post_attention_layernorm.weight": (hidden,),
            f"{prefix}.self_attn.k_proj.weight": (narrow, hidden),
            f"{prefix}.self_attn.o_proj.weight": (hidden, hidden),
            f"{prefix}.self_attn.q_proj.weight": (hidden, hidden),
            f"{prefix}.self_attn.v_proj.weight": (narrow, hidden),
        }
    return {**shapes, "model.norm.weight": (hidden,)}


def size(shape: Sequence[int]) -> int:
    """Return the number of bytes of a tensor in bfloat16."""
    count = 2
    for length in shape:
        count *= length
    return count


def make(folder: Path, gigabytes: float, *, large_head: bool) -> None:
    """Make a checkpoint of random numbers in 12 shards, with the head in the last shard."""
    hidden = 8192 if large_head else 4096
    layers = 1 if large_head else max(1, round((gigabytes - 1.05) / 0.436))
    shapes = llama(hidden, layers, 1024 if large_head else 128_256)
    if large_head:  # INF-ORM
        head: Shapes = {
            "score.0.bias": (hidden,),
            "score.0.weight": (hidden, hidden),
            "score.2.bias": (1,),
            "score.2.weight": (1, hidden),
        }
    else:
        head = {"score.weight": (1, hidden)}
    folder.mkdir()
    config = {
        "architectures": ["LlamaForSequenceClassification"],
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    placed: dict[str, str] = {}
    for file, part in _shards({**shapes, **head}, 2 if large_head else 12):
        _write(folder / file, part)
        placed |= dict.fromkeys(part, file)
    total = sum(size(shape) for shape in (*shapes.values(), *head.values()))
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _shards(shapes: Shapes, count: int) -> Iterator[tuple[str, dict[str, tuple[int, ...]]]]:
    parts: list[dict[str, tuple[int, ...]]] = [{} for _ in range(count)]
    total, before = sum(map(size, shapes.values())), 0
    for name, shape in shapes.items():
        parts[min(before * count // total, count - 1)][name] = shape
        before += size(shape)
    for number, part in enumerate(parts, 1):
        if part:
            yield f"model-{number:05}-of-{count:05}.safetensors", part


def _write(path: Path, shapes: Shapes) -> None:
    # A cleared highest bit of each exponent excludes NaN and outliers.
    noise = bytearray(os.urandom(MEBIBYTE))
    noise[1::2] = bytes(byte & 0xBF for byte in noise[1::2])
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + size(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (offset, end)}
        offset = end
    described = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(described)) + described)
        for _ in range(offset // MEBIBYTE):
            file.write(noise)
        file.write(noise[: offset % MEBIBYTE])


def measure(source: str, destination: str, link: Any) -> Run:
    """Export a checkpoint and measure the costs; runs in a process of its own."""
    from reward_client.export import export_checkpoint
    from reward_client.export.checkpoint import read_checkpoint
    from reward_client.export.head_finder import find_head

    imported = peak()
    before = time.perf_counter()
    found = find_head(read_checkpoint(Path(source)), "auto")
    finding = time.perf_counter() - before
    before = time.perf_counter()
    report = export_checkpoint(source, destination, link=link)
    seconds = time.perf_counter() - before
    head = sum(2 * layer.in_features * layer.out_features for layer in found.layers)
    return {
        "seconds": seconds,
        "finding_seconds": finding,
        "peak_mib": peak() - imported,
        "head_mib": head / MEBIBYTE,
        "written_mb": report.written / MEGABYTE,
        "on_disk_mb": _on_disk(Path(destination)) / MEGABYTE,
    }


def _on_disk(folder: Path) -> int:
    """Return the disk usage of all files that are not links."""
    statuses = [
        path.lstat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()
    ]
    return sum(512 * status.st_blocks for status in statuses if status.st_nlink == 1)


def run(settings: Settings) -> Json:
    """Measure each export once, as it does the same every time."""
    runs: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory(prefix="export-benchmark-") as folder:
        source, destination = Path(folder, "source"), Path(folder, "exported")
        for large_head, links in ((False, tuple(LINKS)), (True, ("hard",))):
            make(source, GIGABYTES * settings.scale, large_head=large_head)
            for link in links:
                kind = "Linear-ReLU-Linear of 8192" if large_head else "one label, 12 shards"
                run = call(measure, source=str(source), destination=str(destination), link=link)
                runs[f"{kind}, {LINKS[link]}"] = [run]
                shutil.rmtree(destination)
            shutil.rmtree(source)
    beyond = [run["peak_mib"] - run["head_mib"] for (run,) in runs.values()]
    return findings(
        table(
            f"A checkpoint of {GIGABYTES * settings.scale:g} GB, and one with a large head",
            runs,
            compared=False,
        ),
        goals=[goal("peak memory besides the head, MiB", [max(beyond)], at_most=ALLOWED)],
    )
