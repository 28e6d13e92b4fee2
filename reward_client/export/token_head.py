"""Rows of a language model's head, taken out of its checkpoint as layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from reward_client._base.json_values import as_list, as_mapping
from reward_client.errors import ExportError
from reward_client.export.checkpoint import Checkpoint, Tensor, read_json
from reward_client.export.layers import Layer
from reward_client.export.lm_head import AfterLmHead, after_lm_head, token_layers, tokens_of


def layers_of_tokens(checkpoint: Checkpoint, choice: str) -> tuple[Layer, ...]:
    """The logit of a token, or the difference of two, as `tokens_of` reads the choice.

    Raises:
        ExportError: There is no such token, or its logit cannot be said in dense layers.
    """
    after = after_lm_head(checkpoint.config)
    embeddings = _output_embeddings(checkpoint, after)
    bias = checkpoint.tensors.get(after.tensor.replace(".weight", ".bias"))
    if bias is not None and bias.shape != embeddings.shape[:1]:
        raise ExportError(
            f"{bias.name} has shape {list(bias.shape)}, and {embeddings.shape[0]} are needed."
        )
    tokens = tokens_named(checkpoint, choice)
    rows: list[list[float]] = []
    biases: list[float] = []
    for token, _ in tokens:
        if token >= embeddings.shape[0]:
            raise ExportError(
                f"There is no token {token}: {embeddings.name} has {embeddings.shape[0]} rows."
            )
        rows.append(embeddings.row(token))
        if bias is not None:
            biases += [number for part in bias.chunks(token, 1) for number in part]
    if not all(math.isfinite(number) for numbers in (*rows, biases) for number in numbers):
        raise ExportError(
            f"{embeddings.name} holds NaN or infinite weights: the checkpoint is broken."
        )
    origin = " - ".join(f"{embeddings.name}[{token}]" for token, _ in tokens)
    return tuple(
        Layer(
            weight=layer.weight,
            bias=layer.bias,
            activation=layer.activation,
            weight_from=origin,
            bias_from=bias.name if bias is not None and layer.bias is not None else None,
        )
        for layer in token_layers(rows, [counts for _, counts in tokens], biases, after)
    )


def tokens_named(checkpoint: Checkpoint, choice: str) -> list[tuple[int, float]]:
    """The IDs of the tokens that a choice names, and what the logit of each counts."""
    return tokens_of(choice, _Vocabulary(checkpoint.folder))


def _output_embeddings(checkpoint: Checkpoint, after: AfterLmHead) -> Tensor:
    """The matrix that makes logits: the model's own, or its input embeddings where it shares them.

    A shared matrix is shared by the configuration, even where a copy is stored.
    """
    bare = after.tied_tensor.partition(".")[2]
    names = (after.tied_tensor, bare) if after.is_tied else (after.tensor,)
    for name in names:
        tensor = checkpoint.tensors.get(name)
        if tensor is not None and len(tensor.shape) == 2:
            return tensor
    raise ExportError(
        f"The checkpoint does not hold {names[0]}, which makes the logits of its model type"
        + (" (its embeddings are tied)." if after.is_tied else ".")
    )


class _Vocabulary(Mapping[str, int]):
    """The tokens of a tokenizer, read when the first one is looked up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokens: Mapping[str, int] | None = None

    def __getitem__(self, token: str) -> int:
        return self._read()[token]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> Mapping[str, int]:
        if self._tokens is None:
            self._tokens = _tokens(self._folder)
        return self._tokens


def _tokens(folder: Path) -> Mapping[str, int]:
    """The vocabulary in tokenizer.json: of a BPE by name, of a Unigram model in order."""
    path = folder / "tokenizer.json"
    if not path.exists():
        raise ExportError(f"{path} is missing: name tokens by their IDs, as in `lm-head:id=0`.")
    content = read_json(path)
    stored = (as_mapping(content.get("model")) or {}).get("vocab")
    pieces = [(as_list(piece) or [None])[0] for piece in as_list(stored) or []]
    named = as_mapping(stored) or {str(piece): number for number, piece in enumerate(pieces)}
    added = [as_mapping(token) or {} for token in as_list(content.get("added_tokens")) or []]
    tokens = {**named, **{str(token.get("content")): token.get("id") for token in added}}
    return {
        token: number for token, number in tokens.items() if type(number) is int and number >= 0
    }
