"""Write the files of an exported folder: linked, copied or newly written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from reward_client._base.regular_file import open_regular
from reward_client._base.safetensors import Entry, encoded_header
from reward_client.errors import ExportError
from reward_client.export.checkpoint import INDEX, Shard, Tensor
from reward_client.export.layers import Layer
from reward_client.export.output_folder import Link, check_free_space

_CHUNK = 8 << 20
# A hub cache names each file by the SHA-256 of its content (huggingface_hub, "Cache").
_BLOB_NAME = re.compile(r"[0-9a-f]{64}")


class FolderWriter:
    """Writes the files of one folder, which must exist.

    Args:
        folder: The folder.
        link: How to add files that stay unchanged.
        advance: Progress callback; it receives the number of bytes read since its last call.

    Attributes:
        written: Number of bytes written.
        linked: Number of bytes in linked files.
        digests: SHA-256 of each source file, by name.
    """

    def __init__(self, folder: Path, link: Link, advance: Callable[[int], object]) -> None:
        self.folder = folder
        self.written = 0
        self.linked = 0
        self.digests: dict[str, str] = {}
        self._link = link
        self._advance = advance

    def write(self, name: str, content: bytes) -> None:
        """Write a file."""
        with self._created(name) as file:
            self._append(file, content)

    def write_json(self, name: str, content: object) -> None:
        """Write a JSON file."""
        self.write(name, json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")

    def write_index(self, weight_map: Mapping[str, str], size: int) -> None:
        """Write the index of the weight files.

        Args:
            weight_map: The file of each tensor.
            size: The number of bytes of all tensors.
        """
        content = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
        self.write_json(INDEX, content)

    def copy(self, name: str, source: Path) -> None:
        """Copy a file that fits in memory."""
        content = b"".join(_chunks(source))
        self.digests[name] = hashlib.sha256(content).hexdigest()
        self.write(name, content)

    def record(self, name: str, source: Path) -> None:
        """Record the digest of a file that is read but not copied."""
        self.digests[name] = hashlib.sha256(b"".join(_chunks(source))).hexdigest()

    def record_shard(self, shard: Shard) -> None:
        """Record the digest of a weight file that is not copied."""
        self.digests[shard.name] = self._digest(shard.path)

    def link_or_copy(self, shard: Shard) -> None:
        """Link an unchanged weight file, or copy it if it cannot be linked."""
        if self.link(shard):
            self.digests[shard.name] = self._digest(shard.path)
        else:
            self.copy_shard(shard)

    def link(self, shard: Shard) -> bool:
        """Link a weight file; return False if it cannot be linked, or must not be."""
        target = self.folder / shard.name
        with suppress(OSError, NotImplementedError):  # another file system, or no support for links
            if self._link == "hard":
                os.link(shard.path, target)
            elif self._link == "symbolic":
                target.symlink_to(shard.path)
            else:
                return False
            self.linked += shard.size
            return True
        return False

    def copy_shard(self, shard: Shard) -> None:
        """Copy a weight file."""
        check_free_space(self.folder, shard.size)
        digest = hashlib.sha256()
        with self._created(shard.name) as file:
            for part in _chunks(shard.path):
                digest.update(part)
                self._append(file, part)
                self._advance(len(part))
        self.digests[shard.name] = digest.hexdigest()

    def write_tensors(self, shard: Shard, names: Mapping[str, str]) -> None:
        """Write a weight file with some of its tensors; ``names`` maps old names to new ones."""
        kept = [
            replace(entry, name=names[entry.name]) for entry in shard.entries if entry.name in names
        ]
        digest = hashlib.sha256()
        with self._created(shard.name) as file:
            for part in _chunks(shard.path, 0, shard.entries[0].start):
                digest.update(part)
            self._append(file, encoded_header(kept, shard.metadata))
            for entry in shard.entries:
                for part in _chunks(shard.path, entry.start, entry.end):
                    digest.update(part)
                    if entry.name in names:
                        self._append(file, part)
                    self._advance(len(part))
        self.digests[shard.name] = digest.hexdigest()

    def write_dense(self, name: str, layer: Layer) -> None:
        """Write the weights of a Dense module."""
        rows, columns = layer.out_features, layer.in_features
        tensors = [_tensor("linear.weight", layer.weight, (rows, columns))]
        if layer.bias is not None:
            tensors.append(_tensor("linear.bias", layer.bias, (rows,)))
        with self._created(name) as file:
            self._append(file, encoded_header([entry for entry, _ in tensors], {"format": "pt"}))
            for _, values in tensors:
                if isinstance(values, bytes):
                    self._append(file, values)
                    continue
                for part in _chunks(values.path, values.entry.start, values.entry.end):
                    self._append(file, part)

    @contextmanager
    def _created(self, name: str) -> Generator[BinaryIO]:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def _append(self, file: BinaryIO, part: bytes) -> None:
        file.write(part)
        self.written += len(part)

    def _digest(self, path: Path) -> str:
        if path.parent.name == "blobs" and _BLOB_NAME.fullmatch(path.name):
            self._advance(path.stat().st_size)
            return path.name
        digest = hashlib.sha256()
        for part in _chunks(path):
            digest.update(part)
            self._advance(len(part))
        return digest.hexdigest()


def _chunks(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Read a source file, or a part of it, in chunks.

    Raises:
        ExportError: If the file cannot be read.
    """
    try:
        with open_regular(path) as file:
            file.seek(start)
            left = sys.maxsize if end is None else end - start
            while left > 0 and (part := file.read(min(left, _CHUNK))):
                left -= len(part)
                yield part
    except OSError as error:
        raise ExportError(f"Cannot read {path}: {error.strerror}.") from error


def _tensor(
    name: str, values: Tensor | Sequence[float] | Sequence[Sequence[float]], shape: tuple[int, ...]
) -> tuple[Entry, Tensor | bytes]:
    """Return the header entry and the data of a tensor."""
    if isinstance(values, Tensor):
        return replace(values.entry, name=name), values
    numbers = list(
        chain.from_iterable(row if isinstance(row, Sequence) else [row] for row in values)
    )
    data = struct.pack(f"<{len(numbers)}f", *numbers)
    return Entry(name, "F32", shape, 0, len(data)), data
