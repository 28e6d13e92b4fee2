"""The manifest: a recipe for the exported checkpoint, and facts about its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reward_client._version import __version__
from reward_client.export.backbones import Backbone
from reward_client.export.head_finder import FoundHead
from reward_client.recipes import (
    EngineTable,
    ExportTable,
    LayerTable,
    ObjectivesTable,
    PromptTable,
    Recipe,
    Reference,
    ScalarTable,
    StepsTable,
)

_SGLANG = EngineTable(
    refusal="SGLang applies no Dense modules: it answers a normalized hidden state. Serve it with "
    "vLLM."
)
_EACH_TOKEN = """--pooler-config '{"task": "token_embed"}'"""  # noqa: S105 - a token of text


def build_manifest(
    name: str,
    architecture: str,
    found: FoundHead,
    backbone: Backbone,
    known: Recipe | None,
    digests: Mapping[str, str],
) -> Recipe:
    """Build the manifest of an exported checkpoint. `verify_export` adds reference values later.

    Args:
        name: Name of the source.
        architecture: Architecture of the source.
        found: Head of the source.
        backbone: Backbone of the destination.
        known: Recipe of the source, if there is one.
        digests: SHA-256 of the source's files.
    """
    is_per_step = found.kind == "steps"
    return Recipe(
        name=f"{name}, exported",
        architectures=(backbone.architecture,),
        output="per token" if is_per_step else "vector",
        head=_head(found, known),
        logit_tokens=found.tokens,
        prompt=known.prompt if known else PromptTable(),
        activation="none",
        special_tokens=dict(known.special_tokens) if known else {},
        serve={"today": _command(backbone, each_token=is_per_step)},
        engines={"SGLang": _SGLANG},
        notes=(*found.notes, *backbone.notes, *(known.notes if known else ())),
        references=_references(found, known),
        sources=known.sources if known else (),
        export=ExportTable(
            client_version=__version__,
            source=name,
            architecture=architecture,
            digests=dict(digests),
            layers=tuple(
                LayerTable(
                    weight=layer.weight_from,
                    bias=layer.bias_from,
                    in_features=layer.in_features,
                    out_features=layer.out_features,
                    activation=layer.activation,
                )
                for layer in found.layers
            ),
            sign=found.sign,
            scale=found.scale,
        ),
    )


def serialize(manifest: Recipe) -> bytes:
    """Return the content of the manifest's file."""
    content: dict[str, Any] = manifest.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"


def _references(found: FoundHead, known: Recipe | None) -> tuple[Reference, ...]:
    """Return the published values of the recipe, if they are values of the exported head."""
    is_unchanged = found.is_own and (found.sign, found.scale) == (1, 1.0)
    if known is None or len(known.models) != 1 or not is_unchanged:
        return ()
    return tuple(reference.model_copy(update={"models": ()}) for reference in known.references)


def _head(
    found: FoundHead, known: Recipe | None
) -> ScalarTable | ObjectivesTable | StepsTable | None:
    """Choose the head that reads the outputs; None for a process model without a recipe."""
    table = known.head_table if known else None
    if found.kind == "scalar":
        return ScalarTable(type="scalar")
    if found.kind == "steps":
        return table if isinstance(table, StepsTable) else None
    if isinstance(table, ObjectivesTable) and _count(table) == found.width:
        return table
    return ObjectivesTable(type="objectives", names=found.labels or found.width)


def _count(table: ObjectivesTable) -> int:
    return table.names if isinstance(table.names, int) else len(table.names)


def _command(backbone: Backbone, *, each_token: bool) -> str:
    parts = ["vllm serve {model} --runner pooling"]
    if backbone.needs_convert:
        parts.append("--convert embed")
    if backbone.trust_remote_code:
        parts.append("--trust-remote-code")
    if each_token:
        parts.append(_EACH_TOKEN)
    return " ".join(parts)
