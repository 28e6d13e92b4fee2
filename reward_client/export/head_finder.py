"""Find the head of a checkpoint by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from reward_client._base.json_values import as_mapping
from reward_client.errors import ExportError
from reward_client.export.checkpoint import Checkpoint, Tensor, format_names, read_shard, sanitize
from reward_client.export.known_heads import (
    FILE_LAYOUTS,
    GATES,
    LAYOUTS,
    PROCESS_ARCHITECTURES,
    HeadLayout,
)
from reward_client.export.layers import Layer, check_chain, scaled
from reward_client.export.normalization import NORMALIZER, normalization
from reward_client.export.token_head import choose_tokens, token_head_layers

LM_HEAD = "lm-head:"
"""Prefix of a choice that names tokens of a language model."""

HeadKind: TypeAlias = Literal["scalar", "objectives", "steps"]

_BACKBONES = ("model", "transformer", "gpt_neox", "backbone", "layers", "h", "embed_tokens", "norm")
_BACKBONES_BARE = ("wte", "wpe", "ln_f", "final_layer_norm", "embeddings", "tok_embeddings")
_LANGUAGE_MODEL_HEADS = ("lm_head", "embed_out", "output")


@dataclass(frozen=True, slots=True)
class FoundHead:
    """The head of a checkpoint as layers, with the meaning of its outputs.

    Attributes:
        name: Name of the layout.
        layers: Layers from the hidden state to the outputs.
        kind: Meaning of the outputs: the reward, objectives, or values of each step.
        labels: Names of the objectives; empty if the checkpoint has none.
        sign: -1 if the checkpoint returns a cost, which the layers negate.
        scale: Factor of the checkpoint's own outputs in the layers, without the sign.
        drop: Names of the tensors that do not belong to the backbone.
        is_own: True for the head that the model was published with.
        notes: Facts for users.
        file: Separate file of the head, or None.
        tokens: Tokens whose logit, or whose difference of logits, the head computes.
    """

    name: str
    layers: tuple[Layer, ...]
    kind: HeadKind
    labels: tuple[str, ...]
    sign: Literal[1, -1]
    scale: float
    drop: frozenset[str]
    is_own: bool
    notes: tuple[str, ...]
    file: Path | None = None
    tokens: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """Number of outputs."""
        return self.layers[-1].out_features


def find_head(checkpoint: Checkpoint, choice: str) -> FoundHead:
    """Find the head of a checkpoint.

    Args:
        checkpoint: The source.
        choice: ``"auto"``, ``"lm-head:…"``, or the path of a safetensors file.

    Raises:
        ExportError: If there are no heads or several, or if dense layers cannot express the head.
    """
    stored = list(_matching(LAYOUTS, checkpoint.tensors))
    drop = frozenset(
        name for layout in stored for name in (*layout.weights, *layout.biases)
    ) | _under(NORMALIZER, checkpoint.tensors)
    _refuse_other_tensors(checkpoint, drop)
    if choice.startswith(LM_HEAD):
        named = choice.removeprefix(LM_HEAD)
        layers = token_head_layers(checkpoint, named)
        check_chain(layers, _hidden_size(checkpoint.config))
        tokens = tuple(token for token, _ in choose_tokens(checkpoint, named))
        return FoundHead(
            choice, layers, "scalar", (), 1, 1.0, drop, is_own=False, notes=(), tokens=tokens
        )
    if choice == "auto":
        if len(stored) != 1:
            raise ExportError(_not_one_head(checkpoint, stored))
        return _published(checkpoint, stored[0], drop)
    return _head_in_file(checkpoint, Path(choice), drop)


def _published(checkpoint: Checkpoint, layout: HeadLayout, drop: frozenset[str]) -> FoundHead:
    config = checkpoint.config
    layers = _layers(layout, checkpoint.tensors)
    check_chain(layers, _hidden_size(config))
    scale, shift = normalization(checkpoint)
    is_cost = config.get("score_type") == "cost"
    sign: Literal[1, -1] = -1 if is_cost else 1
    kind = _kind(checkpoint.architecture, layers[-1].out_features)
    notes: list[str] = []
    if is_cost:
        notes.append(
            "The model returns a cost, where higher is worse. The export negates it into a reward."
        )
    if (scale, shift) != (1.0, 0.0):
        notes.append(
            f"The head includes the model's normalization: {scale:.9g} times the score plus "
            f"{shift:.9g}."
        )
    return FoundHead(
        name=layout.name,
        layers=scaled(layers, sign * scale, sign * shift),
        kind=kind,
        labels=_labels(config, layers[-1].out_features) if kind == "objectives" else (),
        sign=sign,
        scale=scale,
        drop=drop,
        is_own=True,
        notes=tuple(notes),
    )


def _head_in_file(checkpoint: Checkpoint, path: Path, drop: frozenset[str]) -> FoundHead:
    if path.suffix != ".safetensors":
        raise ExportError(
            f'head= must be "auto", "lm-head:TOKEN" or the path of a .safetensors file, not '
            f"{sanitize(repr(str(path)))}."
        )
    if not path.is_file():
        raise ExportError(f"Cannot read {path}: the file does not exist.")
    shard = read_shard(path.parent, path.name)
    tensors = {entry.name: Tensor(shard.path, entry) for entry in shard.entries}
    fitting = [
        layout
        for layout in _matching(FILE_LAYOUTS, tensors)
        if set(tensors) <= {*layout.weights, *layout.biases}
    ]
    if len(fitting) != 1:
        raise ExportError(
            f"Cannot read a head from {path}: it contains {format_names(list(tensors))}. It must "
            "contain a single linear layer (`weight`, optionally `bias`), or tensors named like "
            "the head of a published model."
        )
    layers = _layers(fitting[0], tensors)
    check_chain(layers, _hidden_size(checkpoint.config))
    kind: HeadKind = "scalar" if layers[-1].out_features == 1 else "objectives"
    name = f"{fitting[0].name} of {path.name}"
    return FoundHead(name, layers, kind, (), 1, 1.0, drop, is_own=False, notes=(), file=path)


def _layers(layout: HeadLayout, tensors: Mapping[str, Tensor]) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for (_, activation), weight, bias in zip(
        layout.modules, layout.weights, layout.biases, strict=True
    ):
        if len(tensors[weight].shape) != 2 or 0 in tensors[weight].shape:
            raise ExportError(
                f"Cannot use {weight}: its shape {list(tensors[weight].shape)} is not a matrix."
            )
        has_bias = bias in tensors
        layers.append(
            Layer(
                weight=tensors[weight],
                bias=tensors[bias] if has_bias else None,
                activation=activation,
                weight_from=weight,
                bias_from=bias if has_bias else None,
            )
        )
    return tuple(layers)


def _matching(layouts: Sequence[HeadLayout], tensors: Collection[str]) -> Iterator[HeadLayout]:
    return (layout for layout in layouts if set(layout.weights) <= set(tensors))


def _not_one_head(checkpoint: Checkpoint, stored: Sequence[HeadLayout]) -> str:
    if stored:
        names = " and ".join(layout.name for layout in stored)
        return (
            f"Cannot choose a head: the checkpoint contains {names}. Remove the unused heads, or "
            "pass the head in a file (--head FILE.safetensors)."
        )
    outside = [name for name in checkpoint.tensors if not re.search(r"(^|\.)(layers|h)\.\d", name)]
    message = (
        f"Cannot find a known head: the tensors outside the layers are {format_names(outside)}."
    )
    if _under("lm_head", checkpoint.tensors) or "CausalLM" in checkpoint.architecture:
        message += (
            " The model is a language model. If a token's logit is the reward, name the token "
            "(--head lm-head:TOKEN, or lm-head:YES-NO for the difference of two logits)."
        )
    return f"{message} Pass a head in a file with --head FILE.safetensors."


def _refuse_other_tensors(checkpoint: Checkpoint, head: frozenset[str]) -> None:
    """Refuse models with more than a backbone and a head, because their reward depends on it."""
    known = {*_BACKBONES, *_BACKBONES_BARE, *_LANGUAGE_MODEL_HEADS, "reward_base_model"}
    left = [
        name for name in checkpoint.tensors if name not in head and name.split(".")[0] not in known
    ]
    gates = sorted({name.split(".")[0] for name in left} & set(GATES))
    if gates:
        raise ExportError(
            f"Cannot export this head: it has a gate ({', '.join(gates)}, see {GATES[gates[0]]}). "
            "Its reward is a product that depends on the hidden state of another token, and a "
            "stack of dense layers cannot express that. Serve the model with its own code."
        )
    if head.issuperset(checkpoint.tensors):
        found = format_names(list(checkpoint.tensors)) or "no tensors"
        raise ExportError(
            f"Cannot find a backbone: the checkpoint contains {found} and nothing else."
        )
    if left:
        raise ExportError(
            f"Cannot export this model: the tensors {format_names(left)} belong neither to the "
            "backbone nor to a known head, and the reward may depend on them."
        )


def _kind(architecture: str, width: int) -> HeadKind:
    if architecture in PROCESS_ARCHITECTURES:
        return "steps"
    return "scalar" if width == 1 else "objectives"


def _labels(config: Mapping[str, object], width: int) -> tuple[str, ...]:
    """Return the names in ``id2label``, unless they are the defaults of transformers."""
    named = as_mapping(config.get("id2label")) or {}
    names = [named.get(str(index)) for index in range(width)]
    if len(named) != width or names == [f"LABEL_{index}" for index in range(width)]:
        return ()
    texts = [name for name in names if isinstance(name, str) and name]
    return tuple(texts) if len(set(texts)) == width else ()


def _hidden_size(config: Mapping[str, object]) -> int:
    for key in ("hidden_size", "n_embd", "d_model"):
        size = config.get(key)
        if type(size) is int and size > 0:
            return size
    raise ExportError(
        "Cannot read config.json: it has no hidden_size. If it names a base model, copy the keys "
        "of the base model's config.json into it."
    )


def _under(module: str, tensors: Collection[str]) -> frozenset[str]:
    return frozenset(name for name in tensors if name.startswith(f"{module}."))
