"""Readers and writers of safetensors files, without NumPy and without loading whole files.

The format (github.com/huggingface/safetensors, "Format"): eight bytes of header length,
little-endian; a JSON header from names to dtype, shape and data_offsets; the data. The package of
that name decodes bfloat16, the type of most checkpoints, for torch only.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import BinaryIO, TypeGuard

from reward_client._base.json_values import as_list, as_mapping
from reward_client._base.regular_file import open_regular
from reward_client._base.wording import shorten
from reward_client.errors import InputError

_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_FORMATS = {"F64": "d", "F32": "f", "F16": "e"}  # in the letters of struct
_SIZES = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "I8", "U8", "BOOL"), 1),
}
_ALIGNMENT = 8

DECODABLE = (*_FORMATS, "BF16")
"""The types that this module decodes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor in the header of a file.

    Attributes:
        name: The tensor's name.
        dtype: The type in the letters of the format, such as ``"BF16"``.
        shape: The shape.
        start: The position of the first byte in the file.
        end: The position after the last byte.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_tensor(path: str | PathLike[str], name: str) -> list[float] | list[list[float]]:
    """Read a vector, or the rows of a matrix.

    Raises:
        InputError: If the file is unreadable, or has no such vector or matrix.
    """
    try:
        with open_regular(path) as file:
            return _read(file, name)
    except (OSError, ValueError, RecursionError, struct.error) as error:
        raise InputError(f"Cannot read tensor {name!r} of {path}: {error}.") from error


def read_entries(file: BinaryIO) -> tuple[tuple[Entry, ...], Mapping[str, object]]:
    """Read all tensor entries, in the order of their data, and the metadata of a header.

    Raises:
        ValueError: If the file has another format, or is damaged.
        OSError: If the file is unreadable.
    """
    try:
        header, data_start = _header(file)
    except (struct.error, RecursionError) as error:
        raise ValueError(f"it is no safetensors file: {error}") from error
    metadata = as_mapping(header.get("__metadata__")) or {}
    named = ((name, value) for name, value in header.items() if name != "__metadata__")
    entries = sorted(
        (_entry(name, value, data_start) for name, value in named),
        key=lambda entry: (
            entry.start,
            entry.end,
        ),  # empty ones come first
    )
    position = data_start
    for entry in entries:
        if entry.start != position:
            raise ValueError(f"the data of {entry.name!r} overlap, or leave a hole")
        position = entry.end
    size = file.seek(0, os.SEEK_END)
    if size != position:
        raise ValueError(f"the header describes {position} bytes, but the file has {size}")
    return tuple(entries), metadata


def encoded_header(entries: Sequence[Entry], metadata: Mapping[str, object]) -> bytes:
    """Encode the header of a file that holds the data of these entries in their order."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    position = 0
    for entry in entries:
        end = position + entry.end - entry.start
        header[entry.name] = {
            "dtype": entry.dtype,
            "shape": entry.shape,
            "data_offsets": (position, end),
        }
        position = end
    written = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    written += b" " * (-len(written) % _ALIGNMENT)
    return struct.pack("<Q", len(written)) + written


def decoded(data: bytes, dtype: str) -> list[float]:
    """Decode the numbers of a type in `DECODABLE`, without rounding."""
    if dtype == "BF16":  # the upper halves of float32
        widened = bytearray(2 * len(data))
        widened[2::4], widened[3::4] = data[0::2], data[1::2]
        data, dtype = bytes(widened), "F32"
    form = _FORMATS[dtype]
    return list(struct.unpack(f"<{len(data) // struct.calcsize(form)}{form}", data))


def _read(file: BinaryIO, name: str) -> list[float] | list[list[float]]:
    header, data_start = _header(file)
    described = as_mapping(header.get(name))
    if described is None:
        names = sorted(key for key in header if key != "__metadata__")
        raise ValueError(f"the file has only {names[:20]}")
    dtype, shape = described.get("dtype"), as_list(described.get("shape"))
    if dtype not in DECODABLE or not _are_counts(shape) or len(shape) not in (1, 2) or 0 in shape:
        raise ValueError(
            f"it has dtype {_shown(dtype)} and shape {_shown(shape)}, but must be a vector or a "
            f"matrix of {', '.join(DECODABLE)}"
        )
    entry = _entry(name, described, data_start)
    if entry.end > file.seek(0, os.SEEK_END):
        raise ValueError("the file ends within it")
    file.seek(entry.start)
    values = decoded(file.read(entry.end - entry.start), entry.dtype)
    if len(shape) == 1:
        return values
    width = shape[1]
    return [values[start : start + width] for start in range(0, len(values), width)]


def _header(file: BinaryIO) -> tuple[Mapping[str, object], int]:
    """Return the header, and the position of the data."""
    (size,) = struct.unpack("<Q", file.read(8))
    if size > _MAX_HEADER_BYTES:
        raise ValueError(f"it is no safetensors file, or its header has {size} bytes")
    return as_mapping(json.loads(file.read(size))) or {}, 8 + size


def _entry(name: str, described: object, data_start: int) -> Entry:
    fields = as_mapping(described) or {}
    dtype, shape = fields.get("dtype"), as_list(fields.get("shape"))
    if not isinstance(dtype, str) or not _are_counts(shape):
        raise ValueError(f"{name!r} has dtype {_shown(dtype)} and shape {_shown(shape)}")
    offsets = as_list(fields.get("data_offsets"))
    size = _SIZES.get(dtype)
    count = math.prod(shape)
    if (
        not _are_counts(offsets)
        or len(offsets) != 2
        or offsets[0] > offsets[1]
        or (size is not None and offsets[1] - offsets[0] != count * size)
    ):
        raise ValueError(
            f"its {count} numbers of {dtype} do not fit data_offsets {_shown(offsets)}"
        )
    return Entry(name, dtype, tuple(shape), data_start + offsets[0], data_start + offsets[1])


def _are_counts(values: list[object] | None) -> TypeGuard[list[int]]:
    return values is not None and all(type(value) is int and value >= 0 for value in values)


def _shown(value: object) -> str:
    return shorten(str(value), 80)
