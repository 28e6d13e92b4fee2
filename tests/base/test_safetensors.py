"""Weights of a head out of a file: the right numbers, or an error that names what is wrong."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from reward_client import InputError, LinearHead
from reward_client._base.safetensors import read_tensor

MATRIX = np.array([[1.5, -2.25, 3.0], [0.0, 1e-3, -65504.0]])


def file_of(path: Path, header: Any, data: bytes = b"") -> Path:
    """A file by the format's description, right or wrong."""
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + data)
    return path


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_files_of_the_safetensors_package(dtype: Any, tmp_path: Path) -> None:
    matrix, vector = MATRIX.astype(dtype), np.array([0.1, -7.0]).astype(dtype)
    others = {"a": np.zeros((5, 5), np.float32), "z": np.arange(7)}
    path = tmp_path / "model.safetensors"
    save_file({"score.weight": matrix, "score.bias": vector, **others}, path, {"format": "pt"})
    assert read_tensor(path, "score.weight") == matrix.tolist()
    assert read_tensor(path, "score.bias") == vector.tolist()
    head = LinearHead.load(path, bias="score.bias")
    assert head == LinearHead(matrix, vector)
    assert LinearHead.load(str(path)).bias == (0.0, 0.0)


def test_a_column_and_a_row(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"column": np.ones((3, 1)), "row": np.ones((1, 3)), "one": np.ones(1)}, path)
    assert read_tensor(path, "column") == [[1.0], [1.0], [1.0]]
    assert read_tensor(path, "row") == [[1.0, 1.0, 1.0]]
    assert read_tensor(path, "one") == [1.0]


@given(st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=64))
def test_bfloat16_is_the_upper_half_of_float32(
    tmp_path_factory: pytest.TempPathFactory, halves: list[int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "bfloat16.safetensors"
    header = entry("BF16", [len(halves)], [0, 2 * len(halves)])
    file_of(path, header, struct.pack(f"<{len(halves)}H", *halves))
    expected = (np.array(halves, dtype=np.uint32) << 16).view(np.float32).tolist()
    assert read_tensor(path, "w") == pytest.approx(expected, abs=0, rel=0, nan_ok=True)


def test_known_numbers_of_bfloat16(tmp_path: Path) -> None:
    data = struct.pack("<4H", 0x3F80, 0xC000, 0x3FC0, 0x0000)
    path = file_of(tmp_path / "f", entry("BF16", [2, 2], [0, 8]), data)
    assert read_tensor(path, "w") == [[1.0, -2.0], [1.5, 0.0]]


def test_only_the_named_tensor_is_taken(tmp_path: Path) -> None:
    header = {**entry(offsets=[8, 16]), "before": entry()["w"], "__metadata__": {"w": "x"}}
    path = file_of(tmp_path / "f", header, struct.pack("<4f", 1, 2, 3, 4))
    assert read_tensor(path, "w") == [3.0, 4.0]
    assert read_tensor(path, "before") == [1.0, 2.0]


def test_weights_that_are_not_finite_make_no_head(tmp_path: Path) -> None:
    path = file_of(tmp_path / "f", entry(), struct.pack("<2f", 1, math.nan))
    with pytest.raises(InputError, match="finite"):
        LinearHead.load(path, "w")


EIGHT = bytes(8)


@pytest.mark.parametrize(
    ("header", "data", "hint"),
    [
        # A file that is none, or not whole.
        (b"", EIGHT, "Cannot read tensor"),
        (b"not JSON", EIGHT, "Cannot read tensor"),
        (b"\xff\xfe\xfd", EIGHT, "Cannot read tensor"),
        (b"[" * 100_000, EIGHT, "Cannot read tensor"),
        ([], EIGHT, "the file has only"),
        (None, EIGHT, "the file has only"),
        (entry(), EIGHT[:7], "ends within"),
        (entry(), b"", "ends within"),
        # No such tensor.
        ({}, EIGHT, "the file has only"),
        ({"v": {}, "__metadata__": {}}, EIGHT, r"has only \['v'\]"),
        ({"w": None}, EIGHT, "the file has only"),
        ({"w": []}, EIGHT, "the file has only"),
        # One of another kind.
        (entry("I64", [1]), EIGHT, "dtype I64"),
        (entry("F8_E4M3", [8]), EIGHT, "dtype F8_E4M3"),
        (entry(["F32"]), EIGHT, "dtype"),
        (entry(None), EIGHT, "dtype None"),
        (entry(shape=[1, 1, 2]), EIGHT, "vector or a matrix"),
        (entry(shape=[]), EIGHT, "vector or a matrix"),
        (entry(shape=[0], offsets=[0, 0]), EIGHT, "vector or a matrix"),
        (entry(shape=[2, 0], offsets=[0, 0]), EIGHT, "vector or a matrix"),
        (entry(shape=[-1, -2]), EIGHT, "vector or a matrix"),
        (entry(shape=[2.0]), EIGHT, "vector or a matrix"),
        (entry(shape=["2"]), EIGHT, "vector or a matrix"),
        (entry(shape=[True, 2]), EIGHT, "vector or a matrix"),
        (entry(shape=None), EIGHT, "vector or a matrix"),
        (entry(shape=2), EIGHT, "vector or a matrix"),
        # One that is said to lie where it cannot.
        (entry(offsets=[-8, 0]), EIGHT, "do not fit"),
        (entry(offsets=[8, 0]), EIGHT, "do not fit"),
        (entry(offsets=[0, 4]), EIGHT, "do not fit"),
        (entry(offsets=[0, 16]), EIGHT * 2, "do not fit"),
        (entry(offsets=[0]), EIGHT, "do not fit"),
        (entry(offsets=[0, 4, 8]), EIGHT, "do not fit"),
        (entry(offsets=[0.0, 8.0]), EIGHT, "do not fit"),
        (entry(offsets=None), EIGHT, "do not fit"),
        (entry(offsets=[4, 12]), EIGHT, "ends within"),
        (entry(offsets=[10**30, 10**30 + 8]), EIGHT, "ends within"),
        (entry(shape=[10**12, 10**12], offsets=[0, 4 * 10**24]), EIGHT, "ends within"),
    ],
)
def test_damaged_files(header: Any, data: bytes, hint: str, tmp_path: Path) -> None:
    path = file_of(tmp_path / "model.safetensors", header, data)
    with pytest.raises(InputError, match=hint) as caught:
        LinearHead.load(path, "w")
    assert "model.safetensors" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("size", range(8))
def test_files_without_a_header(size: int, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(bytes(size))
    with pytest.raises(InputError, match="Cannot read tensor"):
        read_tensor(path, "w")


def test_another_kind_of_file(tmp_path: Path) -> None:
    """Its first bytes would be the length of an endless header."""
    for content in (b"\x80\x05\x95pickle, say", b'{"config": "json"}', b"PK\x03\x04 a torch file"):
        path = tmp_path / "f"
        path.write_bytes(content)
        with pytest.raises(InputError, match="no safetensors file"):
            read_tensor(path, "w")


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="Cannot read tensor"):
            read_tensor(path, "w")


@given(st.binary(max_size=64), st.integers(0, 200), st.integers(0, 255))
def test_a_file_with_a_wrong_byte_gives_numbers_or_a_typed_error(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, place: int, byte: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.safetensors"
    content = bytearray(file_of(path, entry(), struct.pack("<2f", 1, 2)).read_bytes() + tail)
    content[place % len(content)] = byte
    path.write_bytes(content)
    try:
        numbers = read_tensor(path, "w")
    except InputError:
        return
    assert numbers
