"""The JSON files that describe a checkpoint as a chain of sentence-transformers modules."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from types import MappingProxyType

from reward_client.export.layers import Layer, LayerActivation

# The module path before sentence-transformers 5.4. Every version of sentence-transformers reads it,
# and so do vLLM 0.10.2 to 0.32 (transformers_utils/config.py).
_MODULE_PATH = "sentence_transformers.models."

# Always written, because the defaults differ: none in vLLM, tanh in sentence-transformers.
_ACTIVATIONS: MappingProxyType[LayerActivation, str] = MappingProxyType(
    {
        "identity": "torch.nn.modules.linear.Identity",
        "relu": "torch.nn.modules.activation.ReLU",
        "tanh": "torch.nn.modules.activation.Tanh",
    }
)

_POOLING = "1_Pooling"
_MODES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens")


def module_files(layers: Sequence[Layer], hidden_size: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each JSON file."""
    modules = [("", "Transformer"), (_POOLING, "Pooling")]
    modules += [(dense_folder(index), "Dense") for index in range(len(layers))]
    yield (
        "modules.json",
        _json(
            [
                {"idx": index, "name": str(index), "path": path, "type": _MODULE_PATH + name}
                for index, (path, name) in enumerate(modules)
            ]
        ),
    )
    yield (
        f"{_POOLING}/config.json",
        _json(
            {
                "word_embedding_dimension": hidden_size,
                **{f"pooling_mode_{mode}": False for mode in _MODES},
                "pooling_mode_lasttoken": True,
                "include_prompt": True,
            }
        ),
    )
    for index, layer in enumerate(layers):
        yield (
            f"{dense_folder(index)}/config.json",
            _json(
                {
                    "in_features": layer.in_features,
                    "out_features": layer.out_features,
                    "bias": layer.bias is not None,
                    "activation_function": _ACTIVATIONS[layer.activation],
                }
            ),
        )


def dense_folder(index: int) -> str:
    """Return the name of a layer's folder."""
    return f"{index + 2}_Dense"


def _json(content: object) -> bytes:
    return json.dumps(content, indent=2).encode() + b"\n"
