"""Writing the files of an exported folder: linked, copied, or written anew."""

from __future__ import annotations

import hashlib
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

from reward_client._base.safetensors import Entry, encoded_header
from reward_client.errors import ExportError
from reward_client.export.checkpoint import Shard, Tensor
from reward_client.export.disk import Link, refuse_full_disk
from reward_client.export.layers import Layer

_CHUNK = 8 << 20
# A hub cache names its files by the SHA-256 of what is in them (huggingface_hub, "Cache").
_BLOB = re.compile(r"[0-9a-f]{64}")


class Writer:
    """Writes the files of one folder.

    Args:
        folder: Where; it exists.
        link: How files come there that stay as they are.
        advance: Called with the bytes that were read since the last call.

    Attributes:
        written: Bytes that the files written here take.
        linked: Bytes of files that are in two folders now.
        digests: The SHA-256 of each file that was taken, by its name.
    """

    def __init__(self, folder: Path, link: Link, advance: Callable[[int], object]) -> None:
        self.folder = folder
        self.written = 0
        self.linked = 0
        self.digests: dict[str, str] = {}
        self._link = link
        self._advance = advance

    def content(self, name: str, content: bytes) -> None:
        """A file with this content."""
        with self._created(name) as file:
            self._write(file, content)

    def small(self, name: str, source: Path) -> None:
        """A copy of a file that fits in memory."""
        content = b"".join(_chunks(source))
        self.digests[name] = hashlib.sha256(content).hexdigest()
        self.content(name, content)

    def digest(self, name: str, source: Path) -> None:
        """Notes a file that something was read from, and that does not come as it is."""
        self.digests[name] = hashlib.sha256(b"".join(_chunks(source))).hexdigest()

    def nothing_of(self, shard: Shard) -> None:
        """Notes a file of weights of which nothing comes."""
        self.digests[shard.name] = self._digest(shard.path)

    def whole(self, shard: Shard) -> None:
        """A file of weights as it is: linked, or copied where that cannot be."""
        if self._linked(shard):
            self.linked += shard.size
            self.digests[shard.name] = self._digest(shard.path)
            return
        refuse_full_disk(self.folder, shard.size)
        digest = hashlib.sha256()
        with self._created(shard.name) as file:
            for part in _chunks(shard.path):
                digest.update(part)
                self._write(file, part)
                self._advance(len(part))
        self.digests[shard.name] = digest.hexdigest()

    def without(self, shard: Shard, names: Mapping[str, str]) -> None:
        """A file of weights with the tensors in `names` alone, under their new names."""
        kept = [
            replace(entry, name=names[entry.name]) for entry in shard.entries if entry.name in names
        ]
        digest = hashlib.sha256()
        with self._created(shard.name) as file:
            for part in _chunks(shard.path, 0, shard.entries[0].start):
                digest.update(part)
            self._write(file, encoded_header(kept, shard.metadata))
            for entry in shard.entries:
                for part in _chunks(shard.path, entry.start, entry.end):
                    digest.update(part)
                    if entry.name in names:
                        self._write(file, part)
                    self._advance(len(part))
        self.digests[shard.name] = digest.hexdigest()

    def dense(self, name: str, layer: Layer) -> None:
        """The weights of a Dense module."""
        rows, columns = layer.out_features, layer.in_features
        parts = [_part("linear.weight", layer.weight, (rows, columns))]
        if layer.bias is not None:
            parts.append(_part("linear.bias", layer.bias, (rows,)))
        with self._created(name) as file:
            self._write(file, encoded_header([entry for entry, _ in parts], {"format": "pt"}))
            for _, values in parts:
                if isinstance(values, bytes):
                    self._write(file, values)
                    continue
                for part in _chunks(values.path, values.entry.start, values.entry.end):
                    self._write(file, part)

    @contextmanager
    def _created(self, name: str) -> Generator[BinaryIO]:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        with path.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())

    def _write(self, file: BinaryIO, part: bytes) -> None:
        file.write(part)
        self.written += len(part)

    def _linked(self, shard: Shard) -> bool:
        target = self.folder / shard.name
        with suppress(OSError, NotImplementedError):  # another file system, or one without links
            if self._link == "hard":
                os.link(shard.path, target)
                return True
            if self._link == "symbolic":
                target.symlink_to(shard.path)
                return True
        return False

    def _digest(self, path: Path) -> str:
        if path.parent.name == "blobs" and _BLOB.fullmatch(path.name):
            self._advance(path.stat().st_size)
            return path.name
        digest = hashlib.sha256()
        for part in _chunks(path):
            digest.update(part)
            self._advance(len(part))
        return digest.hexdigest()


def _chunks(path: Path, start: int = 0, end: int | None = None) -> Iterator[bytes]:
    """Bytes of a file of the source, some at a time.

    Raises:
        ExportError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            left = sys.maxsize if end is None else end - start
            while left > 0 and (part := file.read(min(left, _CHUNK))):
                left -= len(part)
                yield part
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}.") from error


def _part(
    name: str, values: Tensor | Sequence[float] | Sequence[Sequence[float]], shape: tuple[int, ...]
) -> tuple[Entry, Tensor | bytes]:
    """A tensor as a file of its own describes it, and its data."""
    if isinstance(values, Tensor):
        return replace(values.entry, name=name), values
    numbers = list(
        chain.from_iterable(row if isinstance(row, Sequence) else [row] for row in values)
    )
    data = struct.pack(f"<{len(numbers)}f", *numbers)
    return Entry(name, "F32", shape, 0, len(data)), data
