"""Which head is exported: one's own, rows of a language model's, or none when it cannot be told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from reward_client.errors import ExportError
from reward_client.export import export_checkpoint

from .checkpoints import (
    HIDDEN,
    VOCABULARY,
    WEIGHTS,
    Array,
    Stored,
    backbone,
    checkpoint,
    hidden_states,
    numbers,
    outputs,
    read_weights,
    seqcls,
    stored,
    write_file,
)

CAUSAL: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
LM_HEAD = {"lm_head.weight": numbers(len(VOCABULARY), HIDDEN, seed=50)}
FLOAT32 = 1e-5  # differences of rows are rounded to float32 once


def refused(source: Path, destination: Path, **options: Any) -> str:
    with pytest.raises(ExportError) as raised:
        export_checkpoint(source, destination, **options)
    assert not destination.exists()
    message = str(raised.value)
    assert len(message) < 600
    assert "\n" not in message
    return message


def logits(weight: Array, bias: Array | float = 0.0) -> Array:
    return hidden_states() @ weight.T + bias


def served(folder: Path) -> Array:
    return outputs(folder, hidden_states())[:, 0]


def test_a_token_s_logit_is_the_reward_and_no_file_is_rewritten(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", {**backbone(), **LM_HEAD}, files=2, **CAUSAL)
    report = export_checkpoint(source, tmp_path / "exported", head="lm-head:Yes")
    expected = logits(LM_HEAD["lm_head.weight"].values)[:, VOCABULARY["Yes"]]
    np.testing.assert_allclose(served(report.destination), expected, rtol=1e-6)
    assert [layer.weight for layer in report.layers] == ["lm_head.weight[1]"]
    assert read_weights(report.destination) == {**backbone(), **LM_HEAD}
    for file in source.glob("*.safetensors"):
        assert (report.destination / file.name).samefile(file)
    config = json.loads((report.destination / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert "--convert embed" in report.serve
    assert "Dense" in str(report.manifest.engines["SGLang"].refusal)
    assert report.manifest.model_dump(by_alias=True)["head"] == {"type": "scalar"}


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64"])
@pytest.mark.parametrize(
    ("choice", "yes", "no"),
    [("Yes-No", 1, 2), ("id=1-id=2", 1, 2), ("No-Yes", 2, 1), ("ĠYes-No", 3, 2), ("No--", 2, 4)],
)
def test_the_difference_of_two_logits(
    choice: str, yes: int, no: int, dtype: str, tmp_path: Path
) -> None:
    head = {"lm_head.weight": numbers(len(VOCABULARY), HIDDEN, seed=50, dtype=dtype)}
    source = checkpoint(tmp_path / "source", {**backbone(), **head}, **CAUSAL)
    report = export_checkpoint(source, tmp_path / "exported", head=f"lm-head:{choice}")
    every = logits(head["lm_head.weight"].values)
    np.testing.assert_allclose(
        served(report.destination), every[:, yes] - every[:, no], rtol=FLOAT32, atol=FLOAT32
    )
    assert report.layers[0].weight == f"lm_head.weight[{yes}] - lm_head.weight[{no}]"


@pytest.mark.parametrize("prefix", ["model.", ""])
@pytest.mark.parametrize("copy", [True, False], ids=["a copy is stored", "shared"])
def test_tied_embeddings_make_the_logits(copy: bool, prefix: str, tmp_path: Path) -> None:
    """Loaders tie them whatever else is stored."""
    tensors = {**backbone(prefix), **(LM_HEAD if copy else {})}
    source = checkpoint(tmp_path / "source", tensors, **CAUSAL, tie_word_embeddings=True)
    report = export_checkpoint(source, tmp_path / "exported", head="lm-head:Yes")
    every = logits(tensors[f"{prefix}embed_tokens.weight"].values)
    np.testing.assert_allclose(served(report.destination), every[:, 1], rtol=1e-6)


CAP = 3.0
AFTER: dict[str, tuple[dict[str, Any], Callable[[Array], Array]]] = {
    "gemma2": ({"final_logit_softcapping": CAP}, lambda x: CAP * np.tanh(x / CAP)),
    "cohere": ({"logit_scale": 0.25}, lambda x: 0.25 * x),
    "granite": ({"logits_scaling": 8.0}, lambda x: x / 8),
    "phi": ({}, lambda x: x),
}


@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("choice", ["Yes", "Yes-No"])
@pytest.mark.parametrize("kind", AFTER)
def test_what_follows_the_language_model_s_head_counts(
    kind: str, choice: str, bias: bool, tmp_path: Path
) -> None:
    config, after = AFTER[kind]
    tensors = {**backbone(), **LM_HEAD}
    if bias:
        tensors["lm_head.bias"] = numbers(len(VOCABULARY), seed=51)
    source = checkpoint(
        tmp_path / "source",
        tensors,
        model_type=kind,
        architectures=[f"{kind.capitalize()}ForCausalLM"],
        tie_word_embeddings=False,
        **config,
    )
    exported = export_checkpoint(
        source, tmp_path / "exported", head=f"lm-head:{choice}"
    ).destination
    stored_bias = tensors["lm_head.bias"].values if bias else 0.0
    every = after(logits(LM_HEAD["lm_head.weight"].values, stored_bias))
    expected = every[:, 1] - every[:, 2] if choice == "Yes-No" else every[:, 1]
    np.testing.assert_allclose(served(exported), expected, rtol=FLOAT32, atol=FLOAT32)


ZEROS = {"lm_head.weight": stored(np.zeros((8, HIDDEN)))}


@pytest.mark.parametrize(
    ("choice", "tensors", "config", "said"),
    [
        ("Maybe", LM_HEAD, {}, "neither a token"),
        ("", LM_HEAD, {}, "neither a token"),
        ("id=8", LM_HEAD, {}, "8 rows"),
        ("id=-1", LM_HEAD, {}, "neither a token"),
        ("id=99999999999999999999", LM_HEAD, {}, "neither a token"),
        ("Yes-Yes", LM_HEAD, {}, "always 0"),
        ("x" * 5000, LM_HEAD, {}, "neither a token"),
        ("Yes", {}, {}, "lm_head.weight"),
        ("Yes", {}, {"tie_word_embeddings": True, "model_type": "gpt2"}, "wte"),
        ("Yes", LM_HEAD, {"model_type": "grok"}, "grok"),
        ("Yes", LM_HEAD, {"model_type": "cohere", "logit_scale": 10**400}, "logit_scale"),
        ("Yes", LM_HEAD, {"logit_scale": 2.0}, "logit_scale"),
        ("Yes", ZEROS, {}, "zeros"),
        ("Yes-No", {"lm_head.weight": stored(np.ones((8, HIDDEN)))}, {}, "zeros"),
        ("Yes", {"lm_head.weight": stored(np.full((8, HIDDEN), np.nan))}, {}, "NaN"),
        ("Yes", {"lm_head.weight": stored(np.full((8, HIDDEN), 1e300), "F64")}, {}, "float32"),
        ("Yes", {"lm_head.weight": numbers(8, HIDDEN - 1)}, {}, "hidden size"),
        ("Yes", {"lm_head.weight": numbers(8, HIDDEN, dtype="F8_E4M3")}, {}, "quantized"),
        ("id=7", {**LM_HEAD, "lm_head.bias": numbers(3)}, {}, "lm_head.bias"),
        ("Yes", {**LM_HEAD, "lm_head.bias": numbers(8, 1)}, {}, "lm_head.bias"),
    ],
)
def test_a_row_that_is_no_logit_is_refused(
    choice: str, tensors: dict[str, Stored], config: dict[str, Any], said: str, tmp_path: Path
) -> None:
    source = checkpoint(tmp_path / "source", {**backbone(), **tensors}, **{**CAUSAL, **config})
    assert said in refused(source, tmp_path / "exported", head=f"lm-head:{choice}")


@pytest.mark.parametrize("number", [-1, 2**70, 1.5, True, None, "1"])
def test_a_vocabulary_s_odd_ids_name_no_row(number: Any, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", {**backbone(), **LM_HEAD}, **CAUSAL)
    vocabulary = {"model": {"vocab": {**VOCABULARY, "Odd": number}}}
    (source / "tokenizer.json").write_text(json.dumps(vocabulary))
    assert refused(source, tmp_path / "exported", head="lm-head:Odd")


def test_without_a_tokenizer_tokens_are_named_by_ids(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", {**backbone(), **LM_HEAD}, **CAUSAL)
    (source / "tokenizer.json").rename(source / "tokenizer.model")  # as if of SentencePiece
    assert "id=0" in refused(source, tmp_path / "exported", head="lm-head:Yes")
    report = export_checkpoint(source, tmp_path / "exported", head="lm-head:id=0")
    every = logits(LM_HEAD["lm_head.weight"].values)
    np.testing.assert_allclose(served(report.destination), every[:, 0], rtol=1e-6)


def test_a_source_without_any_tokenizer_is_refused(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", {**backbone(), **LM_HEAD}, **CAUSAL)
    (source / "tokenizer.json").unlink()
    assert "no tokenizer" in refused(source, tmp_path / "exported", head="lm-head:id=0")


def test_the_digest_of_a_probe_is_in_the_manifest(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", {**backbone(), **LM_HEAD}, **CAUSAL)
    probe = tmp_path / "probe.safetensors"
    save_file({"weight": np.ones((1, HIDDEN), np.float32)}, probe)
    report = export_checkpoint(source, tmp_path / "exported", head=probe)
    assert report.manifest.export is not None
    found = report.manifest.export.digests["probe.safetensors"]
    assert found == hashlib.sha256(probe.read_bytes()).hexdigest()


def test_tokens_are_found_in_unigram_and_added_vocabularies(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", {**backbone(), **LM_HEAD}, **CAUSAL)
    content = {
        "model": {"type": "Unigram", "vocab": [["<s>", 0.0], ["▁Good", -1.0]]},
        "added_tokens": [{"id": 6, "content": "<bad>"}],
    }
    (source / "tokenizer.json").write_text(json.dumps(content))
    report = export_checkpoint(source, tmp_path / "exported", head="lm-head:▁Good-<bad>")
    assert report.layers[0].weight == "lm_head.weight[1] - lm_head.weight[6]"


PROBES: dict[str, tuple[dict[str, Stored], Callable[[Array], Array]]] = {
    "weight": ({"weight": numbers(1, HIDDEN, seed=60)}, lambda x: x @ P.T),
    "weight and bias": (
        {"weight": numbers(1, HIDDEN, seed=60), "bias": stored([0.5])},
        lambda x: x @ P.T + 0.5,
    ),
    "linear": (
        {"linear.weight": numbers(1, HIDDEN, seed=60), "linear.bias": stored([0.5])},
        lambda x: x @ P.T + 0.5,
    ),
    "score": ({"score.weight": numbers(1, HIDDEN, seed=60)}, lambda x: x @ P.T),
    "score.0/.2": (
        {
            "score.0.weight": numbers(1, HIDDEN, seed=60),
            "score.2.weight": stored([[2.0]]),
            "score.2.bias": stored([0.5]),
        },
        lambda x: 2 * np.maximum(x @ P.T, 0) + 0.5,
    ),
}
P = numbers(1, HIDDEN, seed=60).values


@pytest.mark.parametrize("has_head", [False, True], ids=["no head", "has a head"])
@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_of_one_s_own(probe: str, has_head: bool, tmp_path: Path) -> None:
    tensors, formula = PROBES[probe]
    write_file(tmp_path / "probe.safetensors", tensors)
    source = checkpoint(tmp_path / "source", seqcls() if has_head else backbone())
    report = export_checkpoint(source, tmp_path / "exported", head=tmp_path / "probe.safetensors")
    np.testing.assert_allclose(
        outputs(report.destination, hidden_states()), formula(hidden_states()), rtol=1e-12
    )
    assert read_weights(report.destination) == backbone()
    assert "probe.safetensors" in str(report)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"weight": numbers(HIDDEN)}, "not a matrix"),
        ({"weight": numbers(1, 1, HIDDEN)}, "not a matrix"),
        ({"weight": numbers(1, HIDDEN + 1)}, "hidden size"),
        ({"weight": numbers(1, HIDDEN), "bias": numbers(2)}, "bias"),
        ({"weight": numbers(1, HIDDEN), "gate.weight": numbers(1, HIDDEN)}, "gate.weight"),
        ({"weight": numbers(1, HIDDEN), "score.weight": numbers(1, HIDDEN)}, "score.weight"),
        ({"mine.weight": numbers(1, HIDDEN)}, "mine.weight"),
        ({"bias": numbers(1)}, "bias"),
        ({}, "probe"),
        ({"weight": stored(np.zeros((1, HIDDEN)))}, "zeros"),
        ({"weight": stored(np.full((1, HIDDEN), np.inf))}, "infinite"),
        ({"weight": Stored("I8", (1, HIDDEN), bytes(HIDDEN))}, "I8"),
    ],
)
def test_a_probe_that_is_no_head_is_refused(
    tensors: dict[str, Stored], said: str, tmp_path: Path
) -> None:
    probe = tmp_path / "probe.safetensors"
    write_file(probe, tensors)
    source = checkpoint(tmp_path / "source", backbone())
    assert said in refused(source, tmp_path / "exported", head=probe)


def test_a_probe_s_own_file_is_what_an_error_speaks_of(tmp_path: Path) -> None:
    """Not the weights that may lie beside it, nor an index."""
    write_file(tmp_path / "other.safetensors", {"weight": numbers(1, HIDDEN)})
    source = checkpoint(tmp_path / "source", backbone())
    message = refused(source, tmp_path / "exported", head=tmp_path / "probe.safetensors")
    assert "probe.safetensors" in message
    assert "index" not in message


@pytest.mark.parametrize("head", ["probe", "lm_head:Yes", "score", "", None, 7, b"auto", "a\0b"])
def test_a_head_that_is_none_of_the_three_is_refused(head: Any, tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", seqcls())
    assert "lm-head:TOKEN" in refused(source, tmp_path / "exported", head=head)


def test_several_heads_are_named(tmp_path: Path) -> None:
    tensors = {**seqcls(), "v_head.weight": numbers(1, HIDDEN)}
    source = checkpoint(tmp_path / "source", tensors)
    message = refused(source, tmp_path / "exported")
    assert "score" in message
    assert "v_head" in message
    assert "--head" in message


def test_no_head_says_what_is_there(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", backbone(), architectures=["LlamaModel"])
    message = refused(source, tmp_path / "exported")
    assert "model.norm.weight" in message
    assert "--head" in message
    assert "language model" not in message


@pytest.mark.parametrize("tensors", [{}, LM_HEAD])
def test_a_language_model_is_called_one(tensors: dict[str, Stored], tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", {**backbone(), **tensors}, **CAUSAL)
    assert "lm-head:TOKEN" in refused(source, tmp_path / "exported")


@pytest.mark.parametrize(
    "gate",
    [
        "gating.0.weight",
        "gating_layer.weight",
        "regression_layer.weight",
        "reward_transform_matrix",
    ],
)
@pytest.mark.parametrize("head", ["auto", "lm-head:Yes"])
def test_gates_are_refused_with_the_reason(gate: str, head: str, tmp_path: Path) -> None:
    tensors = {**seqcls(), **LM_HEAD, gate: numbers(3, HIDDEN)}
    source = checkpoint(tmp_path / "source", tensors, architectures=["LlamaForCausalLM"])
    message = refused(source, tmp_path / "exported", head=head)
    assert "gate" in message
    assert gate.split(".", maxsplit=1)[0] in message


@pytest.mark.parametrize(
    "names",
    [
        ["score.bias"],
        ["score.weight", "score.1.weight"],
        ["score.0.weight", "score.2.weight", "score.4.weight"],
        ["score.weight", "classifier.weight"],
        ["score.0.weight"],
        ["score"],
        ["regression_head.weight", "regression_head.scale"],
        ["weights.weight"],
        ["v_head.weight", "critic.weight", *[f"extra{n}.{'x' * 300}" for n in range(9)]],
    ],
)
def test_tensors_of_which_nothing_is_known_are_refused(names: list[str], tmp_path: Path) -> None:
    tensors = {**backbone(), **{name: numbers(HIDDEN, HIDDEN) for name in names}}
    source = checkpoint(tmp_path / "source", tensors)
    message = refused(source, tmp_path / "exported")
    assert any(name[:60] in message for name in names)


def test_a_head_without_a_backbone_is_refused(tmp_path: Path) -> None:
    source = checkpoint(
        tmp_path / "source", {"score.weight": numbers(1, HIDDEN)}, num_hidden_layers=None
    )
    assert "score.weight" in refused(source, tmp_path / "exported")


def test_a_half_wrapped_backbone_is_refused(tmp_path: Path) -> None:
    tensors = {**backbone("reward_base_model.model."), "model.norm.bias": numbers(HIDDEN)}
    source = checkpoint(
        tmp_path / "source", {**tensors, "score.weight": numbers(1, HIDDEN)}, model_type="llama"
    )
    assert "model.norm.bias" in refused(source, tmp_path / "exported")


def test_the_source_s_configuration_decides_the_width(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "source", seqcls(), hidden_size=None)
    assert "hidden_size" in refused(source, tmp_path / "exported")
    assert (source / WEIGHTS).exists()
