"""One tensor out of a safetensors file, without NumPy and without reading the rest.

The format: eight bytes of header length (little-endian), a JSON header of name to dtype, shape and
data_offsets, then the data (github.com/huggingface/safetensors, "Format"). The package of that name
gives bfloat16, which most checkpoints are in, to torch only.
"""

from __future__ import annotations

import json
import math
import struct
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from reward_client.errors import InputError
from reward_client.narrowing import as_list, as_mapping

__all__ = ["read_tensor"]

_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_FORMATS = {"F64": "d", "F32": "f", "F16": "e"}
_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


def read_tensor(path: str | PathLike[str], name: str) -> list[float] | list[list[float]]:
    """A vector, or the rows of a matrix.

    Raises:
        InputError: The file cannot be read, has no such tensor, or one of another kind.
    """
    try:
        with Path(path).open("rb") as file:
            return _read(file, name)
    except (OSError, ValueError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read as a safetensors file: {error}.") from error


def _read(file: BinaryIO, name: str) -> list[float] | list[list[float]]:
    (size,) = struct.unpack("<Q", file.read(8))
    if size > _MAX_HEADER_BYTES:
        raise ValueError(f"its header would have {size} bytes")
    header = as_mapping(json.loads(file.read(size))) or {}
    entry = as_mapping(header.get(name))
    if entry is None:
        names = sorted(key for key in header if key != "__metadata__")
        raise InputError(f"The file has no tensor {name!r}; it has {names[:20]}.")
    dtype, shape, offsets = (
        entry.get("dtype"),
        as_list(entry.get("shape")),
        entry.get("data_offsets"),
    )
    bounds = as_list(offsets) or []
    if dtype not in _BYTES or shape is None or len(shape) not in (1, 2):
        raise InputError(
            f"Tensor {name!r} has dtype {dtype} and shape {shape}: a vector or a matrix of "
            f"{', '.join(_BYTES)} is needed."
        )
    count = math.prod(number for number in shape if isinstance(number, int))
    start, end = (number for number in bounds if isinstance(number, int))
    if end - start != count * _BYTES[dtype]:
        raise ValueError(f"tensor {name!r} has {end - start} bytes for {count} numbers")
    file.seek(8 + size + start)
    values = _decoded(file.read(end - start), dtype, count)
    if len(shape) == 1:
        return values
    width = count // max(1, int(str(shape[0])))
    return [values[row : row + width] for row in range(0, count, width)]


def _decoded(data: bytes, dtype: str, count: int) -> list[float]:
    if dtype == "BF16":  # the upper half of a float32
        halves = struct.unpack(f"<{count}H", data)
        widened = struct.pack(f"<{count}I", *(half << 16 for half in halves))
        return list(struct.unpack(f"<{count}f", widened))
    return list(struct.unpack(f"<{count}{_FORMATS[dtype]}", data))
