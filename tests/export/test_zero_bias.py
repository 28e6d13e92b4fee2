"""Copies of Qwen classifiers with a bias of zeros, which SGLang would fill with random numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reward_client.cli import main
from reward_client.errors import ExportError
from reward_client.export import add_zero_bias
from reward_client.export.output_folder import Link

from .checkpoints import (
    INDEX,
    WEIGHTS,
    checkpoint,
    fingerprint,
    read_file,
    read_weights,
    seqcls,
    stored,
)

QWEN2 = {"architectures": ["Qwen2ForSequenceClassification"], "model_type": "qwen2"}
QWEN3 = {"architectures": ["Qwen3ForSequenceClassification"], "model_type": "qwen3"}
NAMES = tuple(seqcls())
LINKS: tuple[Link, ...] = ("hard", "symbolic", "copy")


def zeros(labels: int) -> Any:
    return {"score.bias": stored([0.0] * labels)}


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize("config", [QWEN2, QWEN3], ids=["Qwen2", "Qwen3"])
@pytest.mark.parametrize("labels", [1, 5])
@pytest.mark.parametrize("files", [1, 3])
def test_the_copy_has_one_tensor_more(
    files: int, labels: int, config: dict[str, Any], dtype: str, tmp_path: Path
) -> None:
    tensors = seqcls(labels, dtype)
    source = checkpoint(tmp_path / "my-qwen", tensors, files=files, **config)
    before = fingerprint(source)
    report = add_zero_bias(source, tmp_path / "fixed" / "my-qwen")
    assert read_weights(report.destination) == {**tensors, **zeros(labels)}
    assert fingerprint(source) == before
    assert report.labels == labels
    for path in source.iterdir():
        copy = report.destination / path.name
        assert copy.samefile(path) == (path.suffix == ".safetensors")
        assert copy.read_bytes() == path.read_bytes() or path.name == INDEX
    added = {path.name for path in report.destination.iterdir()} - {
        path.name for path in source.iterdir()
    }
    assert added - {INDEX} == {"score-bias.safetensors"}


def test_numpy_reads_the_bias(tmp_path: Path) -> None:
    """By the package that other software reads the file with."""
    from safetensors.numpy import load_file

    source = checkpoint(tmp_path / "source", seqcls(2), **QWEN2)
    report = add_zero_bias(source, tmp_path / "copy")
    (added,) = load_file(report.destination / "score-bias.safetensors").items()
    assert added[0] == "score.bias"
    np.testing.assert_array_equal(added[1], np.zeros(2, np.float32))


@pytest.mark.parametrize("link", LINKS)
def test_how_files_get_there(link: Link, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", seqcls(), **QWEN3)
    report = add_zero_bias(source, tmp_path / "copy", link=link)
    ours, theirs = report.destination / WEIGHTS, source / WEIGHTS
    assert ours.samefile(theirs) == (link != "copy")
    assert ours.is_symlink() == (link == "symbolic")
    assert report.linked == (theirs.stat().st_size if link != "copy" else 0)
    assert read_file(ours) == read_file(theirs)


@pytest.mark.parametrize(
    ("tensors", "config", "reason"),
    [
        (seqcls(), {}, r"config\.json names LlamaForSequenceClassification\. Serve the"),
        (seqcls(), {"architectures": None}, "names no architecture"),
        ({**seqcls(), **zeros(1)}, QWEN2, r"it has a score\.bias\. Serve the"),
        (
            {name: tensor for name, tensor in seqcls().items() if name != "score.weight"},
            QWEN3,
            r"no matrix score\.weight",
        ),
        ({**seqcls(), "score.weight": stored([1.0])}, QWEN3, r"no matrix score\.weight"),
    ],
)
def test_nothing_to_cure(tensors: Any, config: dict[str, Any], reason: str, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", tensors, **config)
    with pytest.raises(ExportError, match=reason):
        add_zero_bias(source, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_copy_needs_no_other_bias(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", seqcls(), **QWEN3)
    copy = add_zero_bias(source, tmp_path / "copy").destination
    with pytest.raises(ExportError, match=r"it has a score\.bias"):
        add_zero_bias(copy, tmp_path / "second")


def test_a_destination_is_replaced_by_force_if_it_is_a_copy(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", seqcls(), **QWEN3)
    copy, other = tmp_path / "copy", checkpoint(tmp_path / "other", seqcls())
    add_zero_bias(source, copy)
    with pytest.raises(ExportError, match="--force"):
        add_zero_bias(source, copy)
    add_zero_bias(source, copy, force=True)
    for destination in (other, source, source / "copy"):
        with pytest.raises(ExportError, match="Choose another"):
            add_zero_bias(source, destination, force=True)
    assert read_weights(other) == seqcls()


@pytest.mark.parametrize(
    ("options", "reason"), [({"link": "soft"}, "link"), ({"force": 1}, "force")]
)
def test_invalid_options(options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", seqcls(), **QWEN3)
    with pytest.raises(ExportError, match=reason):
        add_zero_bias(source, tmp_path / "copy", **options)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = checkpoint(tmp_path / "my-qwen", seqcls(5), **QWEN3)
    destination = tmp_path / "fixed" / "my-qwen"
    assert main(["zero-bias", str(source), str(destination)]) == 0
    printed = capsys.readouterr().out
    assert f"Wrote {destination}: my-qwen with 5 zeros as score.bias." in printed
    assert f"--model-path {destination} --is-embedding" in printed
    index = json.loads((destination / INDEX).read_text())
    assert index["weight_map"]["score.bias"] == "score-bias.safetensors"
    assert main(["zero-bias", str(destination), str(tmp_path / "again")]) == 1
    assert "it has a score.bias" in capsys.readouterr().err
