"""Extract rows of a language model's head from its checkpoint, as layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

from reward_client._base.json_values import as_list, as_mapping
from reward_client.errors import ExportError
from reward_client.export.checkpoint import Checkpoint, Tensor, read_json
from reward_client.export.layers import Layer
from reward_client.export.lm_head import LogitTransform, logit_transform, parse_tokens, token_layers


def token_head_layers(checkpoint: Checkpoint, choice: str) -> tuple[Layer, ...]:
    """Build layers for the logit of a token, or for the difference of two logits.

    Raises:
        ExportError: If a token does not exist, or if dense layers cannot express its logit.
    """
    transform = logit_transform(checkpoint.config)
    embeddings = _output_embeddings(checkpoint, transform)
    bias = checkpoint.tensors.get(transform.tensor.replace(".weight", ".bias"))
    if bias is not None and bias.shape != embeddings.shape[:1]:
        raise ExportError(
            f"Cannot use {bias.name}: its shape must be [{embeddings.shape[0]}], not "
            f"{list(bias.shape)}."
        )
    tokens = choose_tokens(checkpoint, choice)
    rows: list[list[float]] = []
    biases: list[float] = []
    for token, _ in tokens:
        if token >= embeddings.shape[0]:
            raise ExportError(
                f"Cannot use token {token}: {embeddings.name} has only {embeddings.shape[0]} rows."
            )
        rows.append(embeddings.row(token))
        if bias is not None:
            biases += [number for part in bias.chunks(token, 1) for number in part]
    if not all(math.isfinite(number) for numbers in (*rows, biases) for number in numbers):
        raise ExportError(
            f"Cannot use {embeddings.name}: it contains weights that are NaN or infinite. Download "
            "the checkpoint again."
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
        for layer in token_layers(rows, [weight for _, weight in tokens], biases, transform)
    )


def choose_tokens(checkpoint: Checkpoint, choice: str) -> list[tuple[int, float]]:
    """Return the ID and the weight of each token in a choice such as ``YES-NO``."""
    return parse_tokens(choice, _Vocabulary(checkpoint.folder))


def _output_embeddings(checkpoint: Checkpoint, transform: LogitTransform) -> Tensor:
    """Return the output embeddings, or the input embeddings if the model ties both.

    The configuration decides whether they are tied, even if the checkpoint stores a copy.
    """
    bare = transform.tied_tensor.partition(".")[2]
    names = (transform.tied_tensor, bare) if transform.is_tied else (transform.tensor,)
    for name in names:
        tensor = checkpoint.tensors.get(name)
        if tensor is not None and len(tensor.shape) == 2:
            return tensor
    raise ExportError(
        f"Cannot compute logits: the checkpoint does not contain {names[0]}"
        + (" (its embeddings are tied)." if transform.is_tied else ".")
    )


class _Vocabulary(Mapping[str, int]):
    """The tokens of a tokenizer, read at the first look-up."""

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
    """Read the vocabulary of tokenizer.json: a dict for BPE, a list for a Unigram model."""
    path = folder / "tokenizer.json"
    if not path.exists():
        raise ExportError(
            f"Cannot look up tokens: {path} does not exist. Name tokens by their IDs, as in "
            "`lm-head:id=0`."
        )
    content = read_json(path)
    stored = (as_mapping(content.get("model")) or {}).get("vocab")
    pieces = [(as_list(piece) or [None])[0] for piece in as_list(stored) or []]
    named = as_mapping(stored) or {str(piece): number for number, piece in enumerate(pieces)}
    added = [as_mapping(token) or {} for token in as_list(content.get("added_tokens")) or []]
    tokens = {**named, **{str(token.get("content")): token.get("id") for token in added}}
    return {
        token: number for token, number in tokens.items() if type(number) is int and number >= 0
    }
