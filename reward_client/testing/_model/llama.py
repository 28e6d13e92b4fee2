"""The forward pass of a Llama in numpy, in float32."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[np.float32]


class KeyValueCache:
    """The keys and values of a sequence's positions so far.

    Attributes:
        length: The number of positions.
    """

    def __init__(self) -> None:
        self.length = 0
        self._layers: dict[str, tuple[Array, Array]] = {}

    def extended(self, layer: str, key: Array, value: Array) -> tuple[Array, Array]:
        """Add new keys and values to a layer, and return all keys and values of the layer."""
        if layer in self._layers:
            keys, values = self._layers[layer]
            key = np.concatenate([keys, key], axis=1)
            value = np.concatenate([values, value], axis=1)
        self._layers[layer] = key, value
        return key, value


class Llama:
    """A small Llama with a score head.

    Attributes:
        vocabulary_size: The number of tokens; token IDs lie below it.
        score_weight: The score head's row of weights.
    """

    def __init__(self, folder: Path) -> None:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._key_value_heads: int = config["num_key_value_heads"]
        self._head_size: int = config["head_dim"]
        self._epsilon = np.float32(config["rms_norm_eps"])
        self._rope_theta: float = config["rope_theta"]
        stored = load((folder / "model.safetensors").read_bytes())
        # float16 keeps the file small; the arithmetic is float32, as by `--dtype float32`.
        self._weights: dict[str, Array] = {k: v.astype(np.float32) for k, v in stored.items()}
        self.vocabulary_size: int = self._weights["model.embed_tokens.weight"].shape[0]
        self.score_weight: Array = self._weights["score.weight"][0]

    def hidden_states(self, token_ids: Sequence[int], cache: KeyValueCache | None = None) -> Array:
        """Return the hidden states of a sequence's new positions, of shape (positions, width).

        Args:
            token_ids: The sequence without the positions in `cache`.
            cache: The positions so far; this call adds the new positions to it.
        """
        cache = KeyValueCache() if cache is None else cache
        hidden = self._weights["model.embed_tokens.weight"][np.asarray(token_ids, dtype=np.int64)]
        start, length = cache.length, cache.length + len(hidden)
        rotation = self._rotation(start, length)
        # A term of the attention scores: a position attends to itself and to earlier positions.
        mask = np.triu(np.full((len(hidden), length), -np.inf, dtype=np.float32), k=start + 1)
        for layer in range(self._layers):
            prefix = f"model.layers.{layer}."
            normed = self._norm(hidden, prefix + "input_layernorm.weight")
            hidden = hidden + self._attention(normed, prefix + "self_attn.", rotation, mask, cache)
            normed = self._norm(hidden, prefix + "post_attention_layernorm.weight")
            hidden = hidden + self._mlp(normed, prefix + "mlp.")
        cache.length = length
        return self._norm(hidden, "model.norm.weight")

    def logits(self, token_ids: Sequence[int], cache: KeyValueCache | None = None) -> Array:
        """Return the raw logits of the next token; the embeddings are the LM head.

        It takes the same arguments as `hidden_states`.
        """
        last = self.hidden_states(token_ids, cache)[-1:]
        logits: Array = linear(last, self._weights["model.embed_tokens.weight"])[0]
        return logits

    def _norm(self, x: Array, name: str) -> Array:
        mean_square = np.mean(np.square(x), axis=-1, keepdims=True)
        scale: Array = np.reciprocal(np.sqrt(mean_square + self._epsilon))
        return x * scale * self._weights[name]

    def _linear(self, x: Array, name: str) -> Array:
        return linear(x, self._weights[name])

    def _rotation(self, start: int, end: int) -> tuple[Array, Array]:
        """Return cosine and sine of the rotary embedding, one row per position."""
        half = self._head_size // 2
        inverse = self._rope_theta ** -(np.arange(half, dtype=np.float32) / half)
        angles = np.outer(np.arange(start, end, dtype=np.float32), inverse).astype(np.float32)
        angles = np.concatenate([angles, angles], axis=-1)
        return np.cos(angles), np.sin(angles)

    def _attention(
        self,
        x: Array,
        prefix: str,
        rotation: tuple[Array, Array],
        mask: Array,
        cache: KeyValueCache,
    ) -> Array:
        def heads(name: str, count: int) -> Array:
            projected = self._linear(x, f"{prefix}{name}_proj.weight")
            return projected.reshape(len(x), count, self._head_size).transpose(1, 0, 2)

        query = _rotate(heads("q", self._heads), *rotation)
        key = _rotate(heads("k", self._key_value_heads), *rotation)
        key, value = cache.extended(prefix, key, heads("v", self._key_value_heads))
        group = self._heads // self._key_value_heads
        key, value = key.repeat(group, axis=0), value.repeat(group, axis=0)
        attention = query @ key.transpose(0, 2, 1) / np.float32(np.sqrt(self._head_size)) + mask
        attention = np.exp(attention - attention.max(axis=-1, keepdims=True))
        attention /= attention.sum(axis=-1, keepdims=True)
        mixed = (attention @ value).transpose(1, 0, 2).reshape(len(x), -1)
        return self._linear(mixed, f"{prefix}o_proj.weight")

    def _mlp(self, x: Array, prefix: str) -> Array:
        gate = self._linear(x, prefix + "gate_proj.weight")
        up = self._linear(x, prefix + "up_proj.weight")
        # SiLU, written with tanh, which cannot overflow.
        squashed: Array = 1 + np.tanh(gate * np.float32(0.5))
        return self._linear(gate * squashed * up * np.float32(0.5), prefix + "down_proj.weight")


def linear(x: Array, weight: Array) -> Array:
    """Multiply `x` of shape (rows, inputs) by a weight of shape (outputs, inputs)."""
    # Blocks of eight rows are too small for OpenBLAS to use several threads. On busy cores its
    # threads take up to a hundred times as long.
    blocks = np.zeros((-(-len(x) // 8), 8, x.shape[1]), dtype=np.float32)
    blocks.reshape(-1, x.shape[1])[: len(x)] = x
    out: Array = (blocks @ weight.T).reshape(-1, weight.shape[0])
    return out[: len(x)]


def _rotate(x: Array, cosine: Array, sine: Array) -> Array:
    half = x.shape[-1] // 2
    swapped = np.empty_like(x)
    swapped[..., :half], swapped[..., half:] = -x[..., half:], x[..., :half]
    rotated: Array = np.add(x * cosine, swapped * sine)
    return rotated
