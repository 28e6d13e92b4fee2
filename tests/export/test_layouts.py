"""Each published layout of a head: found by itself, and served as the numbers it stands for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reward_client.export import export_checkpoint
from reward_client.export.known_heads import LAYOUTS
from reward_client.recipes import load_recipe

from .checkpoints import (
    HIDDEN,
    INDEX,
    WEIGHTS,
    Array,
    Stored,
    Tensors,
    backbone,
    checkpoint,
    hidden_states,
    numbers,
    outputs,
    read_file,
    read_raw,
    read_weights,
    seqcls,
    shard_name,
    write_raw,
)

MIDDLE = 6


def relu(values: Array) -> Array:
    return np.maximum(values, 0)


@dataclass(frozen=True)
class Head:
    """A layout as its model's own code has it: the layers' names, and the arithmetic."""

    layout: str
    layers: tuple[tuple[str, int, int], ...]
    formula: Callable[[Array, list[Array], list[Any]], Array]
    activations: tuple[str, ...] = ("identity",)

    def tensors(self, dtype: str, *, bias: bool) -> dict[str, Stored]:
        found: dict[str, Stored] = {}
        for seed, (name, inputs, outs) in enumerate(self.layers):
            found[f"{name}.weight"] = numbers(outs, inputs, seed=30 + seed, dtype=dtype)
            if bias:
                found[f"{name}.bias"] = numbers(outs, seed=40 + seed, dtype=dtype)
        return found

    def applied(self, hidden: Array, tensors: Tensors) -> Array:
        weights = [tensors[f"{name}.weight"].values for name, _, _ in self.layers]
        biases = [
            tensors[f"{name}.bias"].values if f"{name}.bias" in tensors else 0.0
            for name, _, _ in self.layers
        ]
        return self.formula(hidden, weights, biases)


def linear(name: str, labels: int = 1) -> Head:
    return Head(
        name, ((name, HIDDEN, labels),), lambda hidden, w, b: hidden @ w[0].T + b[0], ("identity",)
    )


def through(
    layout: str, first: str, second: str, between: Callable[[Array], Array], activation: str
) -> Head:
    return Head(
        layout,
        ((first, HIDDEN, MIDDLE), (second, MIDDLE, 1)),
        lambda hidden, w, b: between(hidden @ w[0].T + b[0]) @ w[1].T + b[1],
        (activation, "identity"),
    )


HEADS = [
    linear("score"),
    linear("score", labels=5),
    through("score.0/.2", "score.0", "score.2", relu, "relu"),
    linear("v_head"),
    linear("v_head.summary"),
    through("v_head.summary.0/.2", "v_head.summary.0", "v_head.summary.2", relu, "relu"),
    linear("regression_head"),
    linear("score_head"),
    linear("value_head"),
    linear("reward_head"),
    through(
        "reward_head.dense/.out_proj",
        "reward_head.dense",
        "reward_head.out_proj",
        np.tanh,
        "tanh",
    ),
    linear("out_proj"),
]


def test_every_layout_stands_in_this_table() -> None:
    assert {head.layout for head in HEADS} == {layout.name for layout in LAYOUTS}


@pytest.mark.parametrize("files", [1, 3], ids=["one file", "shards"])
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64"])
@pytest.mark.parametrize("head", HEADS, ids=lambda head: f"{head.layout} {head.layers[-1][2]}")
def test_head_becomes_dense_modules(
    head: Head, dtype: str, bias: bool, files: int, tmp_path: Path
) -> None:
    rest = backbone(dtype=dtype)
    tensors = {**rest, **head.tensors(dtype, bias=bias)}
    source = checkpoint(tmp_path / "source", tensors, files=files)
    report = export_checkpoint(source, tmp_path / "exported")

    assert report.head == head.layout
    for layer, (name, inputs, outs), activation in zip(
        report.layers, head.layers, head.activations, strict=True
    ):
        assert layer.weight == f"{name}.weight"
        assert layer.bias == (f"{name}.bias" if bias else None)
        assert (layer.in_features, layer.out_features) == (inputs, outs)
        assert layer.activation == activation
        assert layer.weight in str(report)
    assert read_weights(report.destination) == rest  # names, types, shapes and bytes
    hidden = hidden_states()
    np.testing.assert_allclose(
        outputs(report.destination, hidden), head.applied(hidden, tensors), rtol=1e-12, atol=1e-12
    )
    manifest = load_recipe(report.destination / "reward_client.json")
    assert manifest == report.manifest
    assert manifest.export is not None
    assert manifest.export.layers == report.layers
    assert (manifest.export.sign, manifest.export.scale) == (1, 1.0)
    for file, digest in manifest.export.digests.items():
        assert digest == hashlib.sha256((source / file).read_bytes()).hexdigest()
    taken = {path.name for path in source.iterdir()} - {INDEX}
    assert set(manifest.export.digests) == taken


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64"])
def test_layers_are_copied_as_they_are_stored(dtype: str, tmp_path: Path) -> None:
    head = HEADS[2].tensors(dtype, bias=True)
    source = checkpoint(tmp_path / "source", {**backbone(), **head})
    exported = export_checkpoint(source, tmp_path / "exported").destination
    assert read_file(exported / "2_Dense" / WEIGHTS) == {
        "linear.weight": head["score.0.weight"],
        "linear.bias": head["score.0.bias"],
    }
    assert read_file(exported / "3_Dense" / WEIGHTS) == {
        "linear.weight": head["score.2.weight"],
        "linear.bias": head["score.2.bias"],
    }


def test_each_layer_has_a_bias_of_its_own_or_none(tmp_path: Path) -> None:
    """The first layer of a published head may have one that the second lacks."""
    head = HEADS[2].tensors("F32", bias=True)
    del head["score.2.bias"]
    source = checkpoint(tmp_path / "source", {**backbone(), **head})
    exported = export_checkpoint(source, tmp_path / "exported").destination
    configs = [json.loads((exported / f"{n}_Dense/config.json").read_text()) for n in (2, 3)]
    assert [config["bias"] for config in configs] == [True, False]
    hidden = hidden_states()
    np.testing.assert_allclose(
        outputs(exported, hidden), HEADS[2].applied(hidden, head), rtol=1e-12
    )


HEAD = ("score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias")
REST = tuple(backbone())


@pytest.mark.parametrize(
    "files",
    [
        [REST, HEAD],
        [HEAD, REST],
        [[*REST, *HEAD[:2]], HEAD[2:]],
        [[*REST[:2], *HEAD[:2]], [*HEAD[2:], *REST[2:]]],
        [[*HEAD, *REST[:2]], REST[2:]],
        [[REST[0], *HEAD, REST[1]], REST[2:]],
        [[HEAD[0], REST[0], HEAD[1], REST[1], HEAD[2], REST[2], HEAD[3], *REST[3:]]],
        [[*REST[:2], *HEAD], REST[2:]],
        [HEAD[:1], HEAD[1:2], HEAD[2:3], HEAD[3:], REST],
    ],
    ids=[
        "head alone, last",
        "head alone, first",
        "second layer alone",
        "in two files",
        "first in its file",
        "in the middle",
        "between the others",
        "last in its file",
        "each tensor alone",
    ],
)
def test_wherever_the_head_lies_nothing_of_it_is_left(
    files: list[list[str]], tmp_path: Path
) -> None:
    rest, head = backbone(dtype="BF16"), HEADS[2].tensors("BF16", bias=True)
    source = checkpoint(tmp_path / "source", {**rest, **head}, files=files)
    exported = export_checkpoint(source, tmp_path / "exported").destination
    assert read_weights(exported) == rest
    # Loaders without an index take every file.
    everything = [name for file in exported.glob("*.safetensors") for name in read_file(file)]
    assert sorted(everything) == sorted(rest)
    assert all(read_file(file) for file in exported.glob("*.safetensors"))
    hidden = hidden_states()
    np.testing.assert_allclose(
        outputs(exported, hidden), HEADS[2].applied(hidden, head), rtol=1e-12
    )


def test_only_files_with_the_head_are_rewritten(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", seqcls(), files=[REST[:2], REST[2:], ["score.weight"]])
    exported = export_checkpoint(source, tmp_path / "exported").destination
    for number in (1, 2):
        name = shard_name(number, 3)
        assert (exported / name).samefile(source / name)
    report = export_checkpoint(source, tmp_path / "again", link="copy")
    assert report.linked == 0


def test_metadata_of_a_rewritten_file_stays(tmp_path: Path) -> None:
    """Without {"format": "pt"}, some versions of transformers refuse the file."""
    source = checkpoint(tmp_path / "source", seqcls(), metadata={"format": "pt", "made": "by me"})
    exported = export_checkpoint(source, tmp_path / "exported").destination
    header = (exported / WEIGHTS).read_bytes()[8:].split(b"}}")[0]
    assert b'"format":"pt"' in header
    assert b'"made":"by me"' in header


def test_tensors_of_other_types_are_copied_as_they_are(tmp_path: Path) -> None:
    """Quantized layers, masks, and types that came after this package."""
    rest = {
        **backbone(),
        "model.layers.0.mlp.up_proj.qweight": Stored("I32", (2, 2), bytes(range(16))),
        "model.layers.0.mlp.up_proj.scales": Stored("F8_E8M0", (4,), bytes(range(4))),
        "model.layers.0.empty": Stored("BF16", (0, 4), b""),
        "model.layers.0.number": Stored("I64", (), bytes(range(8))),
    }
    source = checkpoint(tmp_path / "source", {**rest, "score.weight": numbers(1, HIDDEN)})
    exported = export_checkpoint(source, tmp_path / "exported").destination
    assert read_raw(exported / WEIGHTS) == rest


@pytest.mark.parametrize("before", [True, False])
def test_an_empty_tensor_lies_anywhere(before: bool, tmp_path: Path) -> None:
    """Its first byte is another tensor's too, in whatever order the header names them."""
    empty = {"model.layers.0.empty": Stored("BF16", (0, 4), b"")}
    rest = {**empty, **backbone()} if before else {**backbone(), **empty}
    source = checkpoint(tmp_path / "source", {**rest, "score.weight": numbers(1, HIDDEN)})
    content = (source / WEIGHTS).read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    write_raw(
        source / WEIGHTS,
        json.dumps(dict(reversed(header.items()))).encode(),
        content[8 + size :],
    )
    assert read_weights(export_checkpoint(source, tmp_path / "exported").destination) == rest


WRAPPED = {
    "CLoud": ("reward_base_model.model.", "model.", HEADS[10], "cloud", "FeedbackRewardModel"),
    "CLoud, bare": ("reward_base_model.", "", HEADS[10], "cloud", "FeedbackRewardModel"),
    "Starling": ("transformer.", "model.", linear("v_head"), "llama", "GPTRewardModel"),
}


@pytest.mark.parametrize("files", [1, 3])
@pytest.mark.parametrize(
    ("prefix", "instead", "head", "kind", "name"), WRAPPED.values(), ids=WRAPPED
)
def test_a_wrapper_s_name_is_taken_off(
    prefix: str, instead: str, head: Head, kind: str, name: str, files: int, tmp_path: Path
) -> None:
    tensors = {**backbone(prefix), **head.tensors("F32", bias=True)}
    source = checkpoint(
        tmp_path / "source", tensors, files=files, model_type=kind, architectures=[name]
    )
    exported = export_checkpoint(source, tmp_path / "exported").destination
    assert read_weights(exported) == backbone(instead)
    assert json.loads((exported / "config.json").read_text())["model_type"] == "llama"
    hidden = hidden_states()
    np.testing.assert_allclose(outputs(exported, hidden), head.applied(hidden, tensors), rtol=1e-12)


def test_gpt2_keeps_the_name_that_is_its_own(tmp_path: Path) -> None:
    rest = {
        "transformer.wte.weight": numbers(8, HIDDEN),
        "transformer.h.0.ln_1.weight": numbers(HIDDEN),
        "transformer.ln_f.weight": numbers(HIDDEN),
    }
    source = checkpoint(
        tmp_path / "source",
        {**rest, "score.weight": numbers(1, HIDDEN)},
        architectures=["GPT2ForSequenceClassification"],
        model_type="gpt2",
        hidden_size=None,
        num_hidden_layers=None,
        n_embd=HIDDEN,
        n_layer=1,
    )
    exported = export_checkpoint(source, tmp_path / "exported").destination
    assert read_weights(exported) == rest


def objectives(tmp_path: Path, labels: Any, width: int = 3) -> Any:
    source = checkpoint(tmp_path / "source", seqcls(width), id2label=labels)
    manifest = export_checkpoint(source, tmp_path / "exported").manifest.model_dump(by_alias=True)
    return manifest["head"]


def test_objectives_have_the_names_of_the_labels(tmp_path: Path) -> None:
    head = objectives(tmp_path, {"0": "helpful", "1": "correct", "2": "verbose"})
    assert head == {
        "type": "objectives",
        "names": ("helpful", "correct", "verbose"),
        "weights": None,
    }


@pytest.mark.parametrize(
    "labels",
    [
        {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},  # those that transformers makes up
        {"0": "helpful", "1": "helpful", "2": "verbose"},
        {"0": "helpful", "1": "correct"},
        {"0": "helpful", "1": "correct", "3": "verbose"},
        {"0": "helpful", "1": 7, "2": "verbose"},
        {"0": "helpful", "1": "", "2": "verbose"},
        ["helpful", "correct", "verbose"],
        None,
    ],
)
def test_labels_that_name_nothing_are_counted_instead(labels: Any, tmp_path: Path) -> None:
    assert objectives(tmp_path, labels)["names"] == 3


def test_one_label_is_a_reward_whatever_its_name(tmp_path: Path) -> None:
    assert objectives(tmp_path, {"0": "helpful"}, width=1) == {"type": "scalar"}


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("name", ["Qwen2ForProcessRewardModel", "Qwen2ForPrmModel"])
def test_process_heads_are_served_token_by_token(name: str, width: int, tmp_path: Path) -> None:
    tensors = {**backbone(), **linear("score", width).tensors("BF16", bias=False)}
    source = checkpoint(
        tmp_path / "source", tensors, architectures=[name], model_type="qwen2", id2label=None
    )
    report = export_checkpoint(source, tmp_path / "exported", recipe=None)
    assert report.manifest.output == "per token"
    assert report.manifest.head is None  # what ends a step stands in no checkpoint
    assert "token_embed" in report.serve


def test_a_process_recipe_of_the_source_says_what_ends_a_step(tmp_path: Path) -> None:
    tensors = {**backbone(), **linear("score", 2).tensors("BF16", bias=False)}
    source = checkpoint(
        tmp_path / "Qwen2.5-Math-PRM-7B",
        tensors,
        architectures=["Qwen2ForProcessRewardModel"],
        model_type="qwen2",
    )
    manifest = export_checkpoint(source, tmp_path / "exported").manifest
    head = manifest.model_dump(by_alias=True)["head"]
    assert (head["type"], head["good_label"], head["step_token"]) == ("steps", 1, "<extra_0>")


def test_a_folder_with_the_name_of_another_model_has_no_recipe(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "Qwen2.5-Math-PRM-7B", seqcls(2))
    manifest = export_checkpoint(source, tmp_path / "exported").manifest
    assert manifest.model_dump(by_alias=True)["head"]["type"] == "objectives"
