"""Rename the backbone's tensors for the destination."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reward_client.errors import ExportError
from reward_client.export.checkpoint import Checkpoint, format_names

# Prefixes of classes that wrap the model, and their replacements. A GPT-2 uses "transformer."
# too; only the names that follow distinguish it from a Llama under this prefix (Starling).
_WRAPPERS = (
    (re.compile(r"reward_base_model\."), ""),  # zankner/CLoud, cloud/model.py
    (re.compile(r"transformer\.(?=layers\.|embed_tokens\.|norm\.)"), "model."),
)


def kept_tensors(checkpoint: Checkpoint, drop: frozenset[str]) -> Mapping[str, str]:
    """Map the name of each tensor of the backbone to its name in the destination.

    Raises:
        ExportError: If only some of the tensors have a wrapper's prefix.
    """
    kept = [name for name in checkpoint.tensors if name not in drop]
    for prefix, replacement in _WRAPPERS:
        wrapped = [name for name in kept if prefix.match(name)]
        if wrapped:
            outside = [name for name in kept if not prefix.match(name)]
            if outside:
                raise ExportError(
                    f"Cannot separate the model from the class that wraps it: {wrapped[0]} has the "
                    f"prefix of the wrapper, but other tensors do not: {format_names(outside)}."
                )
            return {name: prefix.sub(replacement, name, count=1) for name in wrapped}
    return {name: name for name in kept}
