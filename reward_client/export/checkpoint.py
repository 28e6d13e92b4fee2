"""Read a checkpoint on disk: its configuration, its tensors and their files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.regular_file import open_regular
from reward_client._base.safetensors import DECODABLE, Entry, decoded, read_entries
from reward_client._base.wording import shorten
from reward_client.errors import ExportError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_LARGEST_JSON = 2**26
"""Bytes. The index of 671B parameters takes 9 MB."""
_CHUNK = 1 << 18
"""Numbers decoded at a time; as Python objects, they take 8 MiB."""
_SHARDS = "model-*-of-*.safetensors"
_OTHER_FORMATS = ("*.bin", "*.pt", "*.pth", "*.gguf", "*.msgpack", "*.h5", "*.ckpt")
_LAYER = re.compile(r"\b(?:layers|h|blocks)\.(\d{1,6})\.")
_MAX_NAMES = 5
_MAX_NAME_CHARACTERS = 60
_MAX_REASON_CHARACTERS = 240


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in a file, as the entry in the file's header describes it."""

    path: Path
    entry: Entry

    @property
    def name(self) -> str:
        """Name of the tensor."""
        return self.entry.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.entry.shape

    def chunks(self, start: int = 0, count: int | None = None) -> Iterator[list[float]]:
        """Read the numbers in order, in chunks.

        Args:
            start: Index of the first number, counted over all rows.
            count: Number of numbers; by default all that follow.

        Raises:
            ExportError: If the type cannot be decoded, or if the file cannot be read.
        """
        entry = self.entry
        if entry.dtype not in DECODABLE:
            raise ExportError(
                f"Cannot export {entry.name} in {self.path.name}: its type is {entry.dtype}, and a "
                f"head must have one of the types {', '.join(DECODABLE)}. Use a checkpoint whose "
                "head is not quantized."
            )
        numbers = 1
        for length in entry.shape:
            numbers *= length
        width = (entry.end - entry.start) // max(numbers, 1)
        left = numbers - start if count is None else count
        try:
            with open_regular(self.path) as file:
                file.seek(entry.start + start * width)
                while left > 0:
                    part = file.read(min(left, _CHUNK) * width)
                    if not part:
                        raise ExportError(
                            f"Cannot read {self.path.name}: it ends within {entry.name}. "
                            "Download it again."
                        )
                    left -= len(part) // width
                    yield decoded(part, entry.dtype)
        except OSError as error:
            raise ExportError(f"Cannot read {self.path}: {error.strerror}.") from error

    def row(self, index: int) -> list[float]:
        """Read one row of a matrix."""
        width = self.shape[1]
        return [number for part in self.chunks(index * width, width) for number in part]

    def rows(self) -> list[list[float]]:
        """Read all rows of a matrix; a vector is one row."""
        numbers = [number for part in self.chunks() for number in part]
        width = self.shape[-1]
        return [numbers[start : start + width] for start in range(0, len(numbers), width)]


@dataclass(frozen=True, slots=True)
class Shard:
    """A weight file.

    Attributes:
        name: Name in the checkpoint.
        path: Path of the file, with symbolic links resolved.
        size: Size in bytes.
        modified: Time of the last modification, in nanoseconds.
        entries: Header entries of the tensors, in the order of their data.
        metadata: Metadata in the header.
    """

    name: str
    path: Path
    size: int
    modified: int
    entries: tuple[Entry, ...]
    metadata: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in the layout of the Hugging Face hub.

    Attributes:
        folder: Path of the folder.
        config: Content of ``config.json``.
        shards: Weight files.
        tensors: Tensors by name.
    """

    folder: Path
    config: Mapping[str, object]
    shards: tuple[Shard, ...]
    tensors: Mapping[str, Tensor]

    @property
    def architecture(self) -> str:
        """First of the configuration's ``architectures``; empty if it names none."""
        names = as_list(self.config.get("architectures")) or [""]
        return str(names[0])

    @property
    def is_sharded(self) -> bool:
        """True if the checkpoint has an index of tensors and files."""
        return (self.folder / INDEX).exists()


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint; only the headers of its weight files are read.

    Raises:
        ExportError: If the folder is not a complete checkpoint in safetensors.
    """
    if not folder.is_dir():
        raise ExportError(f"Cannot read {folder}: it is not a folder.")
    if (folder / "adapter_config.json").exists():
        raise ExportError(
            f"Cannot export {folder}: it is an adapter (adapter_config.json). Merge it into its "
            "model (PEFT's merge_and_unload), and export the result."
        )
    config = read_json(folder / "config.json")
    files = _indexed_files(folder)
    shards = tuple(read_shard(folder, name) for name in sorted(set(files.values()) or {WEIGHTS}))
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        for entry in shard.entries:
            if entry.name in tensors:
                raise ExportError(
                    f"Cannot export {folder}: two files contain {sanitize(entry.name)}, and one of "
                    f"them is {sanitize(shard.name)}. Download the checkpoint again."
                )
            if files and files.get(entry.name) != shard.name:
                raise ExportError(
                    f"Cannot export {folder}: {sanitize(shard.name)} contains "
                    f"{sanitize(entry.name)}, but {INDEX} does not say so. Download the checkpoint "
                    "again."
                )
            tensors[entry.name] = Tensor(shard.path, entry)
    missing = [name for name in files if name not in tensors]
    if missing:
        raise ExportError(
            f"Cannot export {folder}: {INDEX} names tensors that no file contains: "
            f"{format_names(missing)}. Download the checkpoint again."
        )
    if files:
        _refuse_other_files(folder, set(files.values()))
    _refuse_missing_layers(config, tensors)
    return Checkpoint(folder, config, shards, tensors)


def read_json(path: Path) -> Mapping[str, object]:
    """Read the object in a JSON file.

    Raises:
        ExportError: If the file cannot be read, or is not a JSON object.
    """
    check_link(path, path.parent)
    try:
        with open_regular(path) as file:
            if os.fstat(file.fileno()).st_size > _LARGEST_JSON:
                raise ExportError(
                    f"Cannot read {path}: it is larger than {_LARGEST_JSON >> 20} MiB. Download "
                    "the checkpoint again."
                )
            content = as_mapping(json.loads(file.read()))
        json.dumps(content, ensure_ascii=False).encode()  # unpaired surrogates fail here
    except OSError as error:
        raise ExportError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ExportError(f"Cannot read {path}: it is not JSON ({error}).") from error
    if content is None:
        raise ExportError(f"Cannot read {path}: it is not a JSON object.")
    return content


def check_link(path: Path, folder: Path) -> None:
    """Refuse a link that leads out of the checkpoint: it could name any file of this machine.

    The links of a hub cache lead to the files of the same model.

    Raises:
        ExportError: If the path leads out of the folder, and out of its cache.
    """
    try:
        root, target = folder.resolve(), path.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise ExportError(f"Cannot read {path}: {error}.") from error
    roots = [root]
    if root.parent.name == "snapshots":
        roots.append(root.parent.parent / "blobs")
    if not any(target.is_relative_to(allowed) for allowed in roots):
        raise ExportError(
            f"Cannot read {path}: it is a link out of the checkpoint. Copy the file into the "
            "folder."
        )


def read_shard(folder: Path, name: str) -> Shard:
    """Read the header of a weight file.

    Raises:
        ExportError: If the file is missing, damaged or incomplete.
    """
    shown_path = folder / sanitize(name)
    try:
        path = (folder / name).resolve()
        if path.exists() and not path.is_file():
            raise ExportError(f"Cannot read {shown_path}: it is not a file.")
        with open_regular(path) as file:
            entries, metadata = read_entries(file)
            status = os.fstat(file.fileno())
        return Shard(name, path, status.st_size, status.st_mtime_ns, entries, metadata)
    except FileNotFoundError as error:
        raise ExportError(
            f"Cannot read {shown_path}: it does not exist. {_missing_hint(folder)}"
        ) from error
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        reason = error.strerror if isinstance(error, OSError) else error
        raise ExportError(f"Cannot read {shown_path}: {reason}.") from error
    except ValueError as error:
        reason = sanitize(str(error), _MAX_REASON_CHARACTERS)
        raise ExportError(
            f"Cannot read {shown_path}: it is damaged or incomplete ({reason}). Download it again."
        ) from error


def refuse_changes(shards: Sequence[Shard]) -> None:
    """Check that no file has changed since its header was read.

    Raises:
        ExportError: If a file was changed or deleted.
    """
    for shard in shards:
        try:
            status = shard.path.stat()
            same = (status.st_size, status.st_mtime_ns) == (shard.size, shard.modified)
        except OSError:
            same = False
        if not same:
            raise ExportError(
                f"Cannot export {sanitize(shard.name)}: it changed during the export. Wait until "
                "no download writes to it, and export again."
            )


def format_names(names: Sequence[str]) -> str:
    """Format the first few names."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(sanitize(name) for name in sorted(names)[:_MAX_NAMES]) + more


def sanitize(text: str, length: int = _MAX_NAME_CHARACTERS) -> str:
    """Return the beginning of an untrusted text, with ``?`` for unprintable characters."""
    beginning = text[: length + 1]
    return shorten("".join(char if char.isprintable() else "?" for char in beginning), length)


def _indexed_files(folder: Path) -> dict[str, str]:
    """Read the file name of each tensor from the index; empty if there is no index."""
    if not (folder / INDEX).exists():
        return {}
    weight_map = as_mapping(read_json(folder / INDEX).get("weight_map"))
    if not weight_map:
        raise ExportError(f"Cannot read {folder / INDEX}: it has no weight_map.")
    files: dict[str, str] = {}
    for tensor, file in weight_map.items():
        if not isinstance(file, str) or not _is_file_name(file):
            raise ExportError(
                f"Cannot read {INDEX}: the file {sanitize(repr(file))} of {sanitize(tensor)} is "
                "not in the same folder."
            )
        if not file.endswith(".safetensors"):
            raise ExportError(
                f"Cannot read {INDEX}: the file {sanitize(repr(file))} of {sanitize(tensor)} is "
                "not a safetensors file."
            )
        files[tensor] = file
    return files


def _is_file_name(name: str) -> bool:
    """Return True for a plain file name; a checkpoint must not refer to other folders."""
    return Path(name).name == name and "\\" not in name and name.isprintable()


def _refuse_other_files(folder: Path, named: Collection[str]) -> None:
    """Refuse weight files outside the index, because transformers would prefer a single file."""
    present = [path.name for pattern in (WEIGHTS, _SHARDS) for path in folder.glob(pattern)]
    others = [name for name in present if name not in named]
    if others:
        raise ExportError(
            f"Cannot export {folder}: {INDEX} does not name {format_names(others)}. Download the "
            "checkpoint again, or remove the files that do not belong to it."
        )


def _refuse_missing_layers(config: Mapping[str, object], tensors: Mapping[str, Tensor]) -> None:
    """Refuse missing layers, because libraries fill in random weights and only log it."""
    count = config.get("num_hidden_layers")
    if type(count) is not int:
        return
    found = {int(layer[1]) for name in tensors if (layer := _LAYER.search(name))}
    missing = list(islice((layer for layer in range(count) if layer not in found), _MAX_NAMES))
    if missing:
        raise ExportError(
            f"Cannot export an incomplete checkpoint: config.json says that it has "
            f"{sanitize(str(count))} layers, but tensors are missing of layer "
            f"{', '.join(map(str, missing))}. Download it again."
        )


def _missing_hint(folder: Path) -> str:
    others = sorted(path.name for pattern in _OTHER_FORMATS for path in folder.glob(pattern))
    loose = sorted(path.name for path in folder.glob("*.safetensors") if path.is_file())
    if (folder / INDEX).exists():
        return f"{INDEX} names it. Download it again."
    if loose:
        return (
            f"The folder contains {format_names(loose)}, but a checkpoint of several files needs "
            f"{INDEX}."
        )
    if others:
        return (
            f"The folder contains {format_names(others)}, but only safetensors can be exported. "
            "Load the checkpoint with transformers and save it again (save_pretrained), or "
            "download its safetensors."
        )
    return "Check whether the download is complete."
