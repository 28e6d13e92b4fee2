"""Finding the head of a checkpoint, by the names of its tensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from reward_client._base.json_values import as_mapping
from reward_client.errors import ExportError
from reward_client.export.checkpoint import Checkpoint, Tensor, clipped, read_shard, shown
from reward_client.export.known_heads import GATES, LAYOUTS, PROBES, PROCESS_ARCHITECTURES, Layout
from reward_client.export.layers import Layer, check_chain, scaled
from reward_client.export.normalization import NORMALIZER, normalization
from reward_client.export.token_head import layers_of_tokens

LM_HEAD = "lm-head:"
"""What a choice begins with that names tokens of a language model."""

Kind: TypeAlias = Literal["scalar", "objectives", "steps"]

_BACKBONES = ("model", "transformer", "gpt_neox", "backbone", "layers", "h", "embed_tokens", "norm")
_BACKBONES_BARE = ("wte", "wpe", "ln_f", "final_layer_norm", "embeddings", "tok_embeddings")
_LANGUAGE_MODEL_HEADS = ("lm_head", "embed_out", "output")


@dataclass(frozen=True, slots=True)
class FoundHead:
    """A head as layers, and what its outputs are.

    Attributes:
        name: Its layout, in words.
        layers: From the hidden state to the outputs.
        kind: What the outputs are: the reward, objectives, or values of each step.
        labels: The objectives' names, where the checkpoint has any.
        sign: -1 where the checkpoint's own number is a cost, of which the layers give the negative.
        scale: What the layers multiply the stored head's numbers by, besides the sign.
        drop: The tensors that are no part of the backbone.
        is_own: Whether it is the head that the model was published with.
        notes: What a user should know of it.
        file: The file that it was read from, where that is one of its own.
    """

    name: str
    layers: tuple[Layer, ...]
    kind: Kind
    labels: tuple[str, ...]
    sign: Literal[1, -1]
    scale: float
    drop: frozenset[str]
    is_own: bool
    notes: tuple[str, ...]
    file: Path | None = None

    @property
    def width(self) -> int:
        """How many numbers come out."""
        return self.layers[-1].out_features


def find_head(checkpoint: Checkpoint, choice: str) -> FoundHead:
    """The head of a checkpoint.

    Args:
        checkpoint: The source.
        choice: ``"auto"``, ``"lm-head:…"``, or the path of a safetensors file.

    Raises:
        ExportError: There is none, there are several, or it cannot be said in dense layers.
    """
    stored = list(_matching(LAYOUTS, checkpoint.tensors))
    drop = frozenset(
        name for layout in stored for name in (*layout.weights, *layout.biases)
    ) | _under(NORMALIZER, checkpoint.tensors)
    _refuse_what_is_left(checkpoint, drop)
    if choice.startswith(LM_HEAD):
        layers = layers_of_tokens(checkpoint, choice.removeprefix(LM_HEAD))
        check_chain(layers, _hidden_size(checkpoint.config))
        return FoundHead(choice, layers, "scalar", (), 1, 1.0, drop, is_own=False, notes=())
    if choice == "auto":
        if len(stored) != 1:
            raise ExportError(_none_or_several(checkpoint, stored))
        return _published(checkpoint, stored[0], drop)
    return _probe(checkpoint, Path(choice), drop)


def _published(checkpoint: Checkpoint, layout: Layout, drop: frozenset[str]) -> FoundHead:
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
            "The model's own number is a cost, where more is worse; what is served is its negative."
        )
    if (scale, shift) != (1.0, 0.0):
        notes.append(
            f"The model's normalization is part of the head: {scale:.9g} times the score, "
            f"plus {shift:.9g}."
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


def _probe(checkpoint: Checkpoint, path: Path, drop: frozenset[str]) -> FoundHead:
    if path.suffix != ".safetensors":
        raise ExportError(
            f'head={clipped(repr(str(path)))} is none of "auto", "lm-head:TOKEN" and the path of a '
            ".safetensors file."
        )
    if not path.is_file():
        raise ExportError(f"There is no file {path}.")
    shard = read_shard(path.parent, path.name)
    tensors = {entry.name: Tensor(shard.path, entry) for entry in shard.entries}
    fitting = [
        layout
        for layout in _matching(PROBES, tensors)
        if set(tensors) <= {*layout.weights, *layout.biases}
    ]
    if len(fitting) != 1:
        raise ExportError(
            f"{path} holds {shown(list(tensors))}: a probe is one linear layer (`weight`, and "
            "`bias` if it has one), or named like the head of a published model."
        )
    layers = _layers(fitting[0], tensors)
    check_chain(layers, _hidden_size(checkpoint.config))
    kind: Kind = "scalar" if layers[-1].out_features == 1 else "objectives"
    name = f"{fitting[0].name} of {path.name}"
    return FoundHead(name, layers, kind, (), 1, 1.0, drop, is_own=False, notes=(), file=path)


def _layers(layout: Layout, tensors: Mapping[str, Tensor]) -> tuple[Layer, ...]:
    layers: list[Layer] = []
    for (_, activation), weight, bias in zip(
        layout.modules, layout.weights, layout.biases, strict=True
    ):
        if len(tensors[weight].shape) != 2 or 0 in tensors[weight].shape:
            raise ExportError(
                f"{weight} has shape {list(tensors[weight].shape)}, which is no matrix."
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


def _matching(layouts: Sequence[Layout], tensors: Collection[str]) -> Iterator[Layout]:
    return (layout for layout in layouts if set(layout.weights) <= set(tensors))


def _none_or_several(checkpoint: Checkpoint, stored: Sequence[Layout]) -> str:
    if stored:
        names = " and ".join(layout.name for layout in stored)
        return (
            f"There are several heads: {names}. Remove those that are not meant, or give the head "
            "as a file of its own (--head FILE.safetensors)."
        )
    outside = [name for name in checkpoint.tensors if not re.search(r"(^|\.)(layers|h)\.\d", name)]
    message = f"No known head is among the tensors outside the layers: {shown(outside)}."
    if _under("lm_head", checkpoint.tensors) or "CausalLM" in checkpoint.architecture:
        message += (
            " This is a language model: if a token's logit is its reward, name the token "
            "(--head lm-head:TOKEN, or lm-head:YES-NO for the difference of two)."
        )
    return f"{message} A head of yours is given as --head FILE.safetensors."


def _refuse_what_is_left(checkpoint: Checkpoint, head: frozenset[str]) -> None:
    """Refuses models that hold more than a backbone and a head: their reward is made otherwise."""
    known = {*_BACKBONES, *_BACKBONES_BARE, *_LANGUAGE_MODEL_HEADS, "reward_base_model"}
    left = [
        name for name in checkpoint.tensors if name not in head and name.split(".")[0] not in known
    ]
    gates = sorted({name.split(".")[0] for name in left} & set(GATES))
    if gates:
        raise ExportError(
            f"The head has a gate ({', '.join(gates)}, as in {GATES[gates[0]]}): its reward is a "
            "product, and reads the hidden state of another token too, which no stack of dense "
            "layers does. Serve this model by code of its own."
        )
    if head.issuperset(checkpoint.tensors):
        there = shown(list(checkpoint.tensors)) or "no tensor"
        raise ExportError(f"There is no backbone: the checkpoint holds {there} and nothing else.")
    if left:
        raise ExportError(
            f"There are tensors that are neither the backbone's nor a known head's: {shown(left)}. "
            "Without knowing what they do, the reward cannot be right."
        )


def _kind(architecture: str, width: int) -> Kind:
    if architecture in PROCESS_ARCHITECTURES:
        return "steps"
    return "scalar" if width == 1 else "objectives"


def _labels(config: Mapping[str, object], width: int) -> tuple[str, ...]:
    """The names in ``id2label``, unless they are those that transformers makes up."""
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
        "config.json does not say the hidden state's size (hidden_size). If it names a base model, "
        "copy the keys of that model's config.json into it."
    )


def _under(module: str, tensors: Collection[str]) -> frozenset[str]:
    return frozenset(name for name in tensors if name.startswith(f"{module}."))
