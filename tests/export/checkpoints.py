"""Small checkpoints in the layouts of published reward models, written byte by byte, without torch.

They are read back by the `safetensors` package, which never saw the code under test.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from safetensors import deserialize

Array: TypeAlias = np.ndarray[Any, Any]

HIDDEN = 8
LAYERS = 2
VOCABULARY = {"<s>": 0, "Yes": 1, "No": 2, "ĠYes": 3, "-": 4, "a": 5, "b": 6, "c": 7}
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
PT = {"format": "pt"}

CONFIG: Mapping[str, Any] = {
    "architectures": ["LlamaForSequenceClassification"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "vocab_size": len(VOCABULARY),
    "id2label": {"0": "LABEL_0"},
}


@dataclass(frozen=True)
class Stored:
    """A tensor as a file holds it."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @property
    def values(self) -> Array:
        return _decoded(self.data, self.dtype).reshape(self.shape)


Tensors: TypeAlias = Mapping[str, Stored]


def stored(values: Array | Sequence[Any] | float, dtype: str = "F32") -> Stored:
    array = np.asarray(values, dtype=np.float64)
    return Stored(dtype, array.shape, _encoded(array, dtype))


def numbers(*shape: int, seed: int = 0, dtype: str = "F32") -> Stored:
    return stored(np.random.default_rng(seed).normal(size=shape), dtype)


def backbone(prefix: str = "model.", dtype: str = "F32") -> dict[str, Stored]:
    return {
        f"{prefix}embed_tokens.weight": numbers(len(VOCABULARY), HIDDEN, seed=1, dtype=dtype),
        **{
            f"{prefix}layers.{layer}.mlp.up_proj.weight": numbers(
                16, HIDDEN, seed=2 + layer, dtype=dtype
            )
            for layer in range(LAYERS)
        },
        f"{prefix}norm.weight": numbers(HIDDEN, seed=9, dtype=dtype),
    }


def seqcls(labels: int = 1, dtype: str = "F32") -> dict[str, Stored]:
    """The simplest reward model."""
    return {**backbone(dtype=dtype), "score.weight": numbers(labels, HIDDEN, seed=20, dtype=dtype)}


def checkpoint(
    folder: Path,
    tensors: Tensors,
    *,
    files: int | Sequence[Sequence[str]] = 1,
    metadata: Mapping[str, Any] = PT,
    **config: Any,
) -> Path:
    """A checkpoint; `files` deals the tensors out by turns, or says which are in which file."""
    folder.mkdir(parents=True)
    content = {key: value for key, value in {**CONFIG, **config}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(content))
    tokenizer = {"model": {"type": "BPE", "vocab": VOCABULARY}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    if files == 1:
        write_file(folder / WEIGHTS, tensors, metadata)
        return folder
    if isinstance(files, int):
        names = list(tensors)
        files = [names[start::files] for start in range(files)]
    placed: dict[str, str] = {}
    for number, names in enumerate(files, 1):
        file = shard_name(number, len(files))
        write_file(folder / file, {name: tensors[name] for name in names}, metadata)
        placed |= dict.fromkeys(names, file)
    size = sum(len(tensor.data) for tensor in tensors.values())
    write_index(folder, placed, size)
    return folder


def shard_name(number: int, count: int) -> str:
    return f"model-{number:05}-of-{count:05}.safetensors"


def write_index(folder: Path, placed: Mapping[str, Any], size: int = 0) -> None:
    index = {"metadata": {"total_size": size}, "weight_map": placed}
    (folder / INDEX).write_text(json.dumps(index))


def encoded(tensors: Tensors, metadata: Mapping[str, Any] | None = None) -> tuple[Any, bytes]:
    """The header of a file, and its data, in the order given."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [len(data), len(data) + len(tensor.data)],
        }
        data += tensor.data
    return header, data


def write_file(path: Path, tensors: Tensors, metadata: Mapping[str, Any] | None = PT) -> None:
    header, data = encoded(tensors, metadata)
    write_raw(path, json.dumps(header).encode(), data)


def write_raw(path: Path, header: bytes, data: bytes = b"") -> None:
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def read_raw(path: Path) -> dict[str, Stored]:
    """All tensors of a file, also of types that the installed safetensors does not know."""
    content = path.read_bytes()
    (size,) = struct.unpack_from("<Q", content)
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    header.pop("__metadata__", None)
    return {
        name: Stored(fields["dtype"], tuple(fields["shape"]), data[slice(*fields["data_offsets"])])
        for name, fields in header.items()
    }


def read_file(path: Path) -> dict[str, Stored]:
    return {
        name: Stored(fields["dtype"], tuple(fields["shape"]), bytes(fields["data"]))
        for name, fields in deserialize(path.read_bytes())
    }


def read_weights(folder: Path) -> dict[str, Stored]:
    """All tensors of a checkpoint, each in the file where the index says it is."""
    if not (folder / INDEX).exists():
        return read_file(folder / WEIGHTS)
    index = json.loads((folder / INDEX).read_text())
    placed: dict[str, str] = index["weight_map"]
    tensors: dict[str, Stored] = {}
    for file in sorted(set(placed.values())):
        content = read_file(folder / file)
        assert sorted(content) == sorted(name for name in placed if placed[name] == file)
        tensors |= content
    assert index["metadata"]["total_size"] == sum(len(tensor.data) for tensor in tensors.values())
    return tensors


_APPLIED = {
    "torch.nn.modules.linear.Identity": lambda values: values,
    "torch.nn.modules.activation.ReLU": lambda values: np.maximum(values, 0),
    "torch.nn.modules.activation.Tanh": np.tanh,
}


def dense_folders(folder: Path) -> list[Path]:
    """The Dense modules in order; what comes before them is checked."""
    modules = json.loads((folder / "modules.json").read_text())
    transformer, pooling, *dense = modules
    assert [module["idx"] for module in modules] == list(range(len(modules)))
    assert (transformer["type"], transformer["path"]) == (
        "sentence_transformers.models.Transformer",
        "",
    )
    assert pooling["type"] == "sentence_transformers.models.Pooling"
    pooled = json.loads((folder / pooling["path"] / "config.json").read_text())
    modes = {key for key, value in pooled.items() if key.startswith("pooling_mode_") and value}
    assert modes == {"pooling_mode_lasttoken"}
    hidden = json.loads((folder / "config.json").read_text())["hidden_size"]
    assert pooled["word_embedding_dimension"] == hidden
    assert {module["type"] for module in dense} == {"sentence_transformers.models.Dense"}
    return [folder / module["path"] for module in dense]


def outputs(folder: Path, hidden: Array) -> Array:
    """What a server makes of hidden states, by the files of the exported head alone."""
    for dense in dense_folders(folder):
        config = json.loads((dense / "config.json").read_text())
        assert set(config) == {"in_features", "out_features", "bias", "activation_function"}
        tensors = read_file(dense / WEIGHTS)
        assert set(tensors) == {"linear.weight", *(["linear.bias"] if config["bias"] else [])}
        assert tensors["linear.weight"].shape == (config["out_features"], config["in_features"])
        hidden = hidden @ tensors["linear.weight"].values.T
        if config["bias"]:
            assert tensors["linear.bias"].shape == (config["out_features"],)
            hidden = hidden + tensors["linear.bias"].values
        hidden = _APPLIED[config["activation_function"]](hidden)
    return hidden


def hidden_states(width: int = HIDDEN) -> Array:
    return np.random.default_rng(99).normal(size=(16, width))


def fingerprint(folder: Path) -> dict[str, str]:
    """What a folder holds, and how: names, contents, kinds, and times of the last change."""
    return {str(path.relative_to(folder)): _of_file(path) for path in _under(folder)}


def _under(folder: Path) -> Iterable[Path]:
    return sorted(folder.rglob("*"))


def _of_file(path: Path) -> str:
    if path.is_symlink():
        return f"-> {path.readlink()}"
    if path.is_dir():
        return "folder"
    status = path.stat()
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()} {status.st_mode} {status.st_mtime_ns}"


def _encoded(array: Array, dtype: str) -> bytes:
    if dtype == "BF16":
        return (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    if dtype.startswith("F8"):
        return bytes(range(1, array.size + 1))
    return array.astype({"F64": "<f8", "F32": "<f4", "F16": "<f2"}.get(dtype, "i1")).tobytes()


def _decoded(data: bytes, dtype: str) -> Array:
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)
    form = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}[dtype]
    return np.frombuffer(data, form).astype(np.float64)
