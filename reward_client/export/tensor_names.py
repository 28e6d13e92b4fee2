"""The names that the backbone's tensors have in the destination."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reward_client.errors import ExportError
from reward_client.export.checkpoint import Checkpoint, shown

# A wrapper's own name before those of the model in it, and what they are called without it. A
# Llama under "transformer." (Starling) is told from a GPT-2, which is called so, by its layers.
_WRAPPERS = (
    (re.compile(r"reward_base_model\."), ""),  # zankner/CLoud, cloud/model.py
    (re.compile(r"transformer\.(?=layers\.|embed_tokens\.|norm\.)"), "model."),
)


def kept_tensors(checkpoint: Checkpoint, drop: frozenset[str]) -> Mapping[str, str]:
    """The new name of each tensor that belongs to the backbone.

    Raises:
        ExportError: Some tensors lie within a wrapper, and some do not.
    """
    kept = [name for name in checkpoint.tensors if name not in drop]
    for prefix, instead in _WRAPPERS:
        within = [name for name in kept if prefix.match(name)]
        if within:
            outside = [name for name in kept if not prefix.match(name)]
            if outside:
                raise ExportError(
                    f"Some tensors are called like {within[0]}, and others are not: "
                    f"{shown(outside)}. The model cannot be told from what wraps it."
                )
            return {name: prefix.sub(instead, name, count=1) for name in within}
    return {name: name for name in kept}
