"""Ways in which a checkpoint on disk can be broken, each made of a sound one."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoints import (
    HIDDEN,
    INDEX,
    WEIGHTS,
    Stored,
    backbone,
    checkpoint,
    encoded,
    numbers,
    seqcls,
    shard_name,
    stored,
    write_file,
    write_raw,
)

REST = tuple(backbone())
LAST = shard_name(2, 2)
Break = Callable[[Path], object]


@dataclass(frozen=True)
class Broken:
    """A broken checkpoint.

    Attributes:
        what: What is broken, in words.
        make: Makes it, given the folder to make.
        said: What the error must say.
    """

    what: str
    make: Break
    said: str


CASES: list[Broken] = []


def case(what: str, said: str, make: Break) -> None:
    CASES.append(Broken(what, make, said))


def one_file(change: Callable[[Path], object], **config: Any) -> Break:
    return lambda folder: change(checkpoint(folder, seqcls(), **config) / WEIGHTS)


def two_files(change: Callable[[Path], object]) -> Break:
    def make(folder: Path) -> None:
        change(checkpoint(folder, seqcls(), files=[REST, ["score.weight"]]))

    return make


def index(change: Callable[[dict[str, Any]], object]) -> Break:
    def edit(folder: Path) -> None:
        content = json.loads((folder / INDEX).read_text())
        change(content)
        (folder / INDEX).write_text(json.dumps(content))

    return two_files(edit)


def raw_index(content: bytes) -> Break:
    return two_files(lambda folder: (folder / INDEX).write_bytes(content))


def head(tensors: Mapping[str, Stored], **config: Any) -> Break:
    return lambda folder: checkpoint(folder, {**backbone(), **tensors}, **config)


def config(content: bytes | None) -> Break:
    def make(folder: Path) -> None:
        path = checkpoint(folder, seqcls()) / "config.json"
        path.unlink() if content is None else path.write_bytes(content)

    return make


def header(change: Callable[[dict[str, Any]], object]) -> Break:
    def edit(path: Path) -> None:
        content, data = encoded(seqcls())
        change(content)
        write_raw(path, json.dumps(content).encode(), data)

    return one_file(edit)


def raw(content: bytes) -> Break:
    return one_file(lambda path: path.write_bytes(content))


# The index.
case(
    "index lacks the entry of a tensor, and with it a file",
    LAST,
    index(lambda content: content["weight_map"].pop("score.weight")),
)
case(
    "index lacks a tensor of a file that it names",
    "model.norm.weight",
    index(lambda content: content["weight_map"].pop("model.norm.weight")),
)
case(
    "index names a tensor that is in no file",
    "model.extra.weight",
    index(lambda content: content["weight_map"].update({"model.extra.weight": LAST})),
)
case(
    "index puts a tensor into another file",
    "model.norm.weight",
    index(lambda content: content["weight_map"].update({"model.norm.weight": LAST})),
)
case(
    "a file of the index is missing", "names it", two_files(lambda folder: (folder / LAST).unlink())
)
case(
    "a tensor in two files",
    "two files contain model.norm.weight",
    two_files(
        lambda folder: write_file(
            folder / LAST,
            {"score.weight": numbers(1, HIDDEN), "model.norm.weight": numbers(HIDDEN)},
        )
    ),
)
case(
    "a file that the index does not name",
    "model-00003",
    two_files(lambda folder: write_file(folder / shard_name(3, 3), {"v_head.bias": numbers(1)})),
)
case(
    "an index and one whole file besides",
    WEIGHTS,
    two_files(lambda folder: write_file(folder / WEIGHTS, seqcls())),
)
for name, shown in {
    "../outside.safetensors": "../outside",
    "a/../../outside.safetensors": "outside",
    "/etc/outside.safetensors": "/etc/outside",
    "sub/inside.safetensors": "sub/inside",
    "..\\outside.safetensors": "outside",
    "..": "'..'",
    "": "''",
    "a\0b.safetensors": "x00",
    "a\nb.safetensors": "a",
    "model-00001.bin": "model-00001.bin",
    "x" * 300 + ".safetensors": "xxx",
    "x" * 10_000 + ".safetensors": "xxx",
}.items():
    label = name if len(name) < 40 else f"{len(name)} characters"
    case(
        f"index puts a tensor into {label!r}",
        shown,
        index(lambda content, name=name: content["weight_map"].update({"score.weight": name})),
    )
for value in (None, 7, ["x"], {}):
    case(
        f"index puts a tensor into {value!r}",
        "score.weight",
        index(lambda content, value=value: content["weight_map"].update({"score.weight": value})),
    )
case(
    "index names a long tensor that is nowhere",
    "xxx",
    index(lambda content: content["weight_map"].update({"x" * 100_000: LAST})),
)
case("index is a list", "not a JSON object", raw_index(b"[]"))
case("index is empty", "not JSON", raw_index(b""))
case("index is not JSON", "not JSON", raw_index(b"{weight_map"))
case("index is not UTF-8", "not JSON", raw_index(b'{"weight_map": "\xff\xfe"}'))
case("index of 10 MB that is not JSON", "not JSON", raw_index(b"x" * 10_000_000))
case("index nested without an end", "not JSON", raw_index(b"[" * 1_000_000))
case("index without a weight_map", "weight_map", raw_index(b'{"metadata": {}}'))
case("index with an empty weight_map", "weight_map", raw_index(b'{"weight_map": {}}'))
case("index with a list as weight_map", "weight_map", raw_index(b'{"weight_map": ["a"]}'))
case(
    "index with half of a surrogate pair",
    "not JSON",
    raw_index(b'{"weight_map": {"\\ud800": "model.safetensors"}}'),
)
case(
    "index is a folder",
    INDEX,
    two_files(lambda folder: ((folder / INDEX).unlink(), (folder / INDEX).mkdir())),
)

# The file of weights.
case("no weights", WEIGHTS, one_file(lambda path: path.unlink()))
case("weights are a folder", "not a file", one_file(lambda path: (path.unlink(), path.mkdir())))
case("weights are a pipe", "not a file", one_file(lambda path: (path.unlink(), os.mkfifo(path))))
case(
    "weights are a link in a circle",
    WEIGHTS,
    one_file(lambda path: (path.unlink(), path.symlink_to(WEIGHTS))),
)
case(
    "weights are a link to nothing",
    "does not exist. Check whether the download is complete",
    one_file(lambda path: (path.unlink(), path.symlink_to("../../blobs/gone"))),
)
case("file of no bytes", "damaged", raw(b""))
case("file cut off in the header's length", "damaged", raw(b"\0\0\0"))
case("file cut off in the header", "damaged", one_file(lambda path: os.truncate(path, 40)))
case(
    "file cut off in the data",
    "bytes",
    one_file(lambda path: os.truncate(path, path.stat().st_size - 1)),
)
case("a byte too many", "bytes", one_file(lambda path: path.write_bytes(path.read_bytes() + b"x")))
case("header of no length", "damaged", raw(struct.pack("<Q", 0)))
case("header of 2^63 bytes", "damaged", raw(struct.pack("<Q", 1 << 63) + b"{}"))
case("header of 2^64 - 1 bytes", "damaged", raw(b"\xff" * 8 + b"{}"))
case("header longer than the format allows", "damaged", raw(struct.pack("<Q", 10**8 + 1) + b"{}"))
case("header longer than the file", "damaged", raw(struct.pack("<Q", 90_000_000) + b"{}"))
case("header is not JSON", "damaged", one_file(lambda path: write_raw(path, b"{]")))
case("header is not UTF-8", "damaged", one_file(lambda path: write_raw(path, b'{"\xff": 1}')))
case("header is a list", "tensors are missing", one_file(lambda path: write_raw(path, b"[]")))
case("header without tensors", "tensors are missing", one_file(lambda path: write_raw(path, b"{}")))
case(
    "header nested without an end",
    "damaged",
    one_file(lambda path: write_raw(path, b'{"a":' * 100_000)),
)
case(
    "a Git LFS pointer",
    "damaged",
    raw(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 9\n"),
)
case("an HTML page", "damaged", raw(b"<!DOCTYPE html><html>" + b" " * 500 + b"</html>"))
for field, value in {
    "dtype": 7,
    "shape": [8, -1],
    "data_offsets": [0],
}.items():
    case(
        f"a tensor whose {field} is {value!r}",
        "score.weight" if field != "data_offsets" else "[0]",
        header(
            lambda content, field=field, value=value: content["score.weight"].update({field: value})
        ),
    )
for what, shape in {
    "too large for its bytes": [2, HIDDEN],
    "of fractions": [1.5, 2],
    "of bools": [True, HIDDEN],
    "of huge numbers": [2**62, 2**62],
}.items():
    case(
        f"shape {what}",
        "damaged",
        header(lambda content, shape=shape: content["score.weight"].update({"shape": shape})),
    )


def moved(by: int) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        start, end = content["score.weight"]["data_offsets"]
        content["score.weight"]["data_offsets"] = [start + by, end + by]

    return change


case("data that overlap", "overlap", header(moved(-4)))
case("data with a hole", "hole", header(moved(4)))
case("offsets beyond the file", "damaged", header(moved(1 << 62)))
case(
    "offsets that go backwards",
    "damaged",
    header(lambda content: content["score.weight"].update({"data_offsets": [32, 0]})),
)
case(
    "two tensors on the same bytes",
    "overlap",
    header(lambda content: content.update({"v_head.weight": content["score.weight"]})),
)
case("a tensor that is no object", "damaged", header(lambda content: content.update({"a": 1})))
case(
    "a tensor's name of 100,000 characters",
    "damaged",
    header(lambda content: content.update({"x" * 100_000: 1})),
)
case(
    "a head's neighbour with a name of many lines",
    "neither",
    lambda folder: checkpoint(folder, {**seqcls(), "a\nb\x1b[31m" * 1000: numbers(1)}),
)

# The head.
case("one-dimensional head", "not a matrix", head({"score.weight": numbers(HIDDEN)}))
case("three-dimensional head", "not a matrix", head({"score.weight": numbers(1, 1, HIDDEN)}))
case("head without numbers", "not a matrix", head({"score.weight": numbers(0, HIDDEN)}))
case("scalar head", "not a matrix", head({"score.weight": stored(1.0)}))
case("head of another width", "hidden size", head({"score.weight": numbers(1, HIDDEN + 1)}))
case("head on its side", "hidden size", head({"score.weight": numbers(HIDDEN, 1)}))
case(
    "layers that do not fit",
    "score.2.weight needs 5 inputs",
    head({"score.0.weight": numbers(4, HIDDEN), "score.2.weight": numbers(1, 5)}),
)
case(
    "bias of another length",
    "score.bias",
    head({"score.weight": numbers(1, HIDDEN), "score.bias": numbers(2)}),
)
case(
    "bias of two dimensions",
    "score.bias",
    head({"score.weight": numbers(1, HIDDEN), "score.bias": numbers(1, 1)}),
)
case(
    "hidden_size that is not the head's",
    "hidden size",
    head({"score.weight": numbers(1, HIDDEN)}, hidden_size=2 * HIDDEN),
)
for dtype in ("F64", "F32", "F16", "BF16"):
    for label, number in {"NaN": np.nan, "inf": np.inf, "-inf": -np.inf}.items():
        values = np.ones((3, HIDDEN))
        values[1, 5] = number
        case(
            f"{label} in a head of {dtype}",
            "NaN, infinite",
            head({"score.weight": stored(values, dtype)}),
        )
    case(
        f"head of zeros in {dtype}",
        "zeros",
        head({"score.weight": stored(np.zeros((1, HIDDEN)), dtype)}),
    )
    case(
        f"NaN in a bias of {dtype}",
        "score.bias: it contains weights that are NaN",
        head({"score.weight": numbers(1, HIDDEN), "score.bias": stored([np.nan], dtype)}),
    )
case(
    "head of zeros, some of them negative",
    "zeros",
    head({"score.weight": stored(np.full((1, HIDDEN), -0.0))}),
)
case("numbers beyond float32", "float32", head({"score.weight": stored([[1e39] * HIDDEN], "F64")}))
for dtype in ("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"):
    case(
        f"head of type {dtype}",
        "quantized",
        head({"score.weight": Stored(dtype, (1, HIDDEN), bytes(range(HIDDEN)))}),
    )
case(
    "head of a type from the future",
    "F4",
    head({"score.weight": Stored("F4", (1, HIDDEN), bytes(HIDDEN // 2))}),
)
case("unknown head", "classifier.weight", head({"classifier.weight": numbers(1, HIDDEN)}))
case(
    "two heads",
    "score and v_head",
    head({"score.weight": numbers(1, HIDDEN), "v_head.weight": numbers(1, HIDDEN)}),
)
case("no head", "--head", head({}))
case("a gate", "gate", head({"gating.weight": numbers(1, HIDDEN)}))
case(
    "a layer of the backbone is missing",
    "layer 1",
    lambda folder: checkpoint(
        folder, {name: tensor for name, tensor in seqcls().items() if ".layers.1." not in name}
    ),
)
case(
    "more layers than can be counted",
    "layer 2",
    head({"score.weight": numbers(1, HIDDEN)}, num_hidden_layers=10**15),
)

# The configuration, and what else is in the folder.
case("no config.json", "config.json", config(None))
case("config.json is a list", "not a JSON object", config(b"[]"))
case("config.json is cut off", "not JSON", config(b'{"model_type": "lla'))
case("config.json is not UTF-8", "not JSON", config(b'{"model_type": "\xff"}'))
case(
    "config.json with a number of 5,000 digits", "not JSON", config(b'{"a": ' + b"9" * 5000 + b"}")
)
case("config.json with half of a surrogate pair", "not JSON", config(b'{"a": "\\ud800"}'))
case("no model_type", "model_type", head({"score.weight": numbers(1, HIDDEN)}, model_type=None))
case("an encoder", "encoder", head({"score.weight": numbers(1, HIDDEN)}, model_type="bert"))
for value in (None, 0, -1, "8", 8.0, True, [8]):
    case(
        f"hidden_size is {value!r}",
        "hidden_size",
        head({"score.weight": numbers(1, HIDDEN)}, hidden_size=value),
    )


def only(name: str) -> Break:
    return one_file(lambda path: path.rename(path.with_name(name)))


case("pytorch_model.bin only", "save_pretrained", only("pytorch_model.bin"))
case("a GGUF file only", "safetensors", only("model.gguf"))
case("files of weights without an index", INDEX, only(shard_name(1, 2)))
case(
    "an adapter",
    "merge",
    one_file(lambda path: path.with_name("adapter_config.json").write_text("{}")),
)
case("no such folder", "not a folder", lambda folder: None)
case("a file in the folder's place", "not a folder", lambda folder: folder.write_text("x"))
