"""One tensor out of a safetensors file, without NumPy and without reading the rest.

The format: eight bytes of header length (little-endian), a JSON header of name to dtype, shape and
data_offsets, then the data (github.com/huggingface/safetensors, "Format"). The package of that name
gives bfloat16, which most checkpoints are in, to torch only.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import BinaryIO, TypeGuard

from reward_client.errors import InputError
from reward_client.narrowing import as_list, as_mapping

__all__ = ["read_tensor"]

_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_FORMATS = {"F64": "d", "F32": "f", "F16": "e", "BF16": "H"}  # as of struct; BF16 is widened later


def read_tensor(path: str | PathLike[str], name: str) -> list[float] | list[list[float]]:
    """A vector, or the rows of a matrix.

    Raises:
        InputError: The file cannot be read, has no such tensor, or one of another kind.
    """
    try:
        with Path(path).open("rb") as file:
            return _read(file, name)
    except (OSError, ValueError, RecursionError, struct.error) as error:
        raise InputError(f"{path}: tensor {name!r} cannot be read: {error}.") from error


def _read(file: BinaryIO, name: str) -> list[float] | list[list[float]]:
    header, data_start = _header(file)
    entry = as_mapping(header.get(name))
    if entry is None:
        names = sorted(key for key in header if key != "__metadata__")
        raise ValueError(f"the file has none of this name; it has {names[:20]}")
    dtype, shape = entry.get("dtype"), as_list(entry.get("shape"))
    form = _FORMATS.get(dtype) if isinstance(dtype, str) else None
    if form is None or not _are_counts(shape) or len(shape) not in (1, 2) or 0 in shape:
        raise ValueError(
            f"it has dtype {dtype} and shape {shape}, and a vector or a matrix of "
            f"{', '.join(_FORMATS)} is needed"
        )
    count = math.prod(shape)
    length = count * struct.calcsize(form)
    offsets = as_list(entry.get("data_offsets"))
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != length:
        raise ValueError(f"its {count} numbers of {dtype} are said to lie at {offsets}")
    if data_start + offsets[1] > file.seek(0, os.SEEK_END):
        raise ValueError("the file ends before it does")
    file.seek(data_start + offsets[0])
    values = _decoded(file.read(length), count, form)
    if len(shape) == 1:
        return values
    width = shape[1]
    return [values[start : start + width] for start in range(0, count, width)]


def _header(file: BinaryIO) -> tuple[Mapping[str, object], int]:
    """What the file says it holds, and where the data begin."""
    (size,) = struct.unpack("<Q", file.read(8))
    if size > _MAX_HEADER_BYTES:
        raise ValueError(f"this is no safetensors file, or its header has {size} bytes")
    return as_mapping(json.loads(file.read(size))) or {}, 8 + size


def _are_counts(values: list[object] | None) -> TypeGuard[list[int]]:
    return values is not None and all(type(value) is int and value >= 0 for value in values)


def _decoded(data: bytes, count: int, form: str) -> list[float]:
    numbers = struct.unpack(f"<{count}{form}", data)
    if form != _FORMATS["BF16"]:
        return list(numbers)
    widened = struct.pack(f"<{count}I", *(half << 16 for half in numbers))  # bfloat16 to float32
    return list(struct.unpack(f"<{count}f", widened))
