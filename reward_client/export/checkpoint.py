"""A checkpoint as it lies on disk: its configuration, its tensors, and where each one is."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.safetensors import DECODABLE, Entry, decoded, read_entries
from reward_client.errors import ExportError

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

_CHUNK = 1 << 18
"""Numbers decoded at a time: as Python objects, 8 MiB."""
_SHARDS = "model-*-of-*.safetensors"
_OTHER_FORMATS = ("*.bin", "*.pt", "*.pth", "*.gguf", "*.msgpack", "*.h5", "*.ckpt")
_LAYER = re.compile(r"\b(?:layers|h|blocks)\.(\d{1,6})\.")
_SHOWN = 5
_SHOWN_CHARACTERS = 60
_REASON_CHARACTERS = 240


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor in a file.

    Attributes:
        path: The file.
        entry: What the file says of it.
    """

    path: Path
    entry: Entry

    @property
    def name(self) -> str:
        """Its name."""
        return self.entry.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.entry.shape

    def chunks(self, start: int = 0, count: int | None = None) -> Iterator[list[float]]:
        """Its numbers in order, some at a time.

        Args:
            start: The first one, counted over all rows.
            count: How many; all that follow by default.

        Raises:
            ExportError: They are of a type that is not decoded, or cannot be read.
        """
        entry = self.entry
        if entry.dtype not in DECODABLE:
            raise ExportError(
                f"{self.path.name}: {entry.name} is of type {entry.dtype}, and a head must be in "
                f"one of {', '.join(DECODABLE)}: a quantized head cannot be exported."
            )
        numbers = 1
        for length in entry.shape:
            numbers *= length
        width = (entry.end - entry.start) // max(numbers, 1)
        left = numbers - start if count is None else count
        try:
            with self.path.open("rb") as file:
                file.seek(entry.start + start * width)
                while left > 0:
                    part = file.read(min(left, _CHUNK) * width)
                    if not part:
                        raise ExportError(f"{self.path.name} ends within {entry.name}.")
                    left -= len(part) // width
                    yield decoded(part, entry.dtype)
        except OSError as error:
            raise ExportError(f"{self.path} cannot be read: {error.strerror}.") from error

    def row(self, index: int) -> list[float]:
        """One row of a matrix."""
        width = self.shape[1]
        return [number for part in self.chunks(index * width, width) for number in part]

    def rows(self) -> list[list[float]]:
        """All rows of a matrix; a vector is one."""
        numbers = [number for part in self.chunks() for number in part]
        width = self.shape[-1]
        return [numbers[start : start + width] for start in range(0, len(numbers), width)]


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of weights.

    Attributes:
        name: Its name in the checkpoint.
        path: The file itself, symbolic links followed.
        size: Its bytes.
        changed: When it was last changed, in nanoseconds.
        entries: Its tensors, in the order of their data.
        metadata: What else its header says.
    """

    name: str
    path: Path
    size: int
    changed: int
    entries: tuple[Entry, ...]
    metadata: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in the layout of the Hugging Face hub.

    Attributes:
        folder: Where it is.
        config: Its ``config.json``.
        shards: Its files of weights.
        tensors: Its tensors by name.
    """

    folder: Path
    config: Mapping[str, object]
    shards: tuple[Shard, ...]
    tensors: Mapping[str, Tensor]

    @property
    def architecture(self) -> str:
        """The first of its ``architectures``; empty where it names none."""
        names = as_list(self.config.get("architectures")) or [""]
        return str(names[0])

    @property
    def is_sharded(self) -> bool:
        """Whether an index says which tensor is in which file."""
        return (self.folder / INDEX).exists()


def read_checkpoint(folder: Path) -> Checkpoint:
    """What a folder holds; of the weights, only the headers are read.

    Raises:
        ExportError: It is no whole checkpoint in safetensors.
    """
    if not folder.is_dir():
        raise ExportError(f"{folder} is no folder.")
    if (folder / "adapter_config.json").exists():
        raise ExportError(
            f"{folder} holds an adapter (adapter_config.json): merge it into its model first "
            "(PEFT's merge_and_unload), then export that."
        )
    config = read_json(folder / "config.json")
    placed = _placed(folder)
    shards = tuple(read_shard(folder, name) for name in sorted(set(placed.values()) or {WEIGHTS}))
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        for entry in shard.entries:
            if entry.name in tensors:
                raise ExportError(
                    f"{clipped(entry.name)} is in two files, one of them {clipped(shard.name)}: "
                    "the weights are not of one checkpoint. Download it again."
                )
            if placed and placed.get(entry.name) != shard.name:
                raise ExportError(
                    f"{INDEX} does not say that {clipped(entry.name)} is in {clipped(shard.name)}, "
                    "where it is: the index and the weights are not of one checkpoint. Download it "
                    "again."
                )
            tensors[entry.name] = Tensor(shard.path, entry)
    missing = [name for name in placed if name not in tensors]
    if missing:
        raise ExportError(
            f"{INDEX} names tensors that are in no file: {shown(missing)}. Download it again."
        )
    if placed:
        _refuse_other_files(folder, set(placed.values()))
    _refuse_missing_layers(config, tensors)
    return Checkpoint(folder, config, shards, tensors)


def read_json(path: Path) -> Mapping[str, object]:
    """The object in a JSON file.

    Raises:
        ExportError: There is none.
    """
    try:
        content = as_mapping(json.loads(path.read_bytes()))
        json.dumps(content, ensure_ascii=False).encode()  # halves of surrogate pairs fail here
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path} is not JSON: {error}.") from error
    if content is None:
        raise ExportError(f"{path} holds no JSON object.")
    return content


def read_shard(folder: Path, name: str) -> Shard:
    """The header of a file of weights.

    Raises:
        ExportError: The file is missing, damaged, or not whole.
    """
    where = folder / clipped(name)
    try:
        path = (folder / name).resolve()
        if path.exists() and not path.is_file():
            raise ExportError(f"{where} is no file.")
        with path.open("rb") as file:
            entries, metadata = read_entries(file)
            status = os.fstat(file.fileno())
        return Shard(name, path, status.st_size, status.st_mtime_ns, entries, metadata)
    except FileNotFoundError as error:
        raise ExportError(f"{where} is missing. {_instead(folder)}") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: symbolic links in a circle
        reason = error.strerror if isinstance(error, OSError) else error
        raise ExportError(f"{where} cannot be read: {reason}.") from error
    except ValueError as error:
        reason = clipped(str(error), _REASON_CHARACTERS)
        raise ExportError(f"{where} is damaged or cut off: {reason}. Download it again.") from error


def refuse_changes(shards: Sequence[Shard]) -> None:
    """Refuses files that are no longer what they were when their headers were read.

    Raises:
        ExportError: A file was changed, or is gone.
    """
    for shard in shards:
        try:
            status = shard.path.stat()
            same = (status.st_size, status.st_mtime_ns) == (shard.size, shard.changed)
        except OSError:
            same = False
        if not same:
            raise ExportError(
                f"{clipped(shard.name)} was changed while it was exported: is it still being "
                "downloaded? Export it again when nothing writes to it."
            )


def shown(names: Sequence[str]) -> str:
    """The first few names."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(clipped(name) for name in sorted(names)[:_SHOWN]) + more


def clipped(text: str, characters: int = _SHOWN_CHARACTERS) -> str:
    """The beginning of a text that somebody else wrote, in one line."""
    printable = "".join(
        character if character.isprintable() else "?" for character in text[:characters]
    )
    return printable if len(text) <= characters else f"{printable}…"


def _placed(folder: Path) -> dict[str, str]:
    """The file of each tensor, by the index; empty where there is none."""
    if not (folder / INDEX).exists():
        return {}
    placed = as_mapping(read_json(folder / INDEX).get("weight_map"))
    if not placed:
        raise ExportError(f"{folder / INDEX} has no weight_map.")
    files: dict[str, str] = {}
    for tensor, file in placed.items():
        if not isinstance(file, str) or not _is_file_name(file):
            raise ExportError(
                f"{INDEX} puts {clipped(tensor)} into {clipped(repr(file))}, which is no file "
                "beside it."
            )
        if not file.endswith(".safetensors"):
            raise ExportError(
                f"{INDEX} puts {clipped(tensor)} into {clipped(repr(file))}, which is not "
                "safetensors."
            )
        files[tensor] = file
    return files


def _is_file_name(name: str) -> bool:
    """A file of another folder has no business in a checkpoint, nor in what is made of it."""
    return Path(name).name == name and "\\" not in name and name.isprintable()


def _refuse_other_files(folder: Path, named: Collection[str]) -> None:
    """Where both are there, transformers takes the one whole file, and not those of the index."""
    there = [path.name for pattern in (WEIGHTS, _SHARDS) for path in folder.glob(pattern)]
    others = [name for name in there if name not in named]
    if others:
        raise ExportError(
            f"{INDEX} does not name {shown(others)}: either it is not whole, or the file is of "
            "another checkpoint. Download it again, or remove what does not belong to it."
        )


def _refuse_missing_layers(config: Mapping[str, object], tensors: Mapping[str, Tensor]) -> None:
    """Libraries make up weights that are missing, and only say so in their logs."""
    count = config.get("num_hidden_layers")
    if type(count) is not int:
        return
    found = {int(layer[1]) for name in tensors if (layer := _LAYER.search(name))}
    missing = list(islice((layer for layer in range(count) if layer not in found), _SHOWN))
    if missing:
        raise ExportError(
            f"config.json tells of {clipped(str(count))} layers, and there are no tensors of layer "
            f"{', '.join(map(str, missing))}: the checkpoint is not whole."
        )


def _instead(folder: Path) -> str:
    others = sorted(path.name for pattern in _OTHER_FORMATS for path in folder.glob(pattern))
    loose = sorted(path.name for path in folder.glob("*.safetensors") if path.is_file())
    if (folder / INDEX).exists():
        return f"{INDEX} names it: download it again."
    if loose:
        return f"There are {shown(loose)}: a checkpoint of several files needs {INDEX}."
    if others:
        return (
            f"There are {shown(others)}, and only safetensors can be exported. Load it with "
            "transformers and save it again (save_pretrained), or use the checkpoint's safetensors."
        )
    return "Is the download complete?"
