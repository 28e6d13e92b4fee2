"""`export_checkpoint`: read a checkpoint, find its head, and write the folder to serve."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import get_args

from reward_client._base.choices import check_choice, check_flags
from reward_client._base.progress import progress_bar
from reward_client._printable import printable
from reward_client.errors import ExportError
from reward_client.export.backbones import backbone_config, backbone_of
from reward_client.export.checkpoint import (
    Checkpoint,
    Shard,
    read_checkpoint,
    refuse_changes,
)
from reward_client.export.companions import apart, companions_of
from reward_client.export.folder_writer import FolderWriter
from reward_client.export.head_finder import FoundHead, find_head
from reward_client.export.manifest import build_manifest, serialize
from reward_client.export.modules import dense_folder, module_files
from reward_client.export.output_folder import (
    MANIFEST,
    Link,
    can_link,
    check_free_space,
    new_folder,
)
from reward_client.export.report import ExportReport
from reward_client.export.tensor_names import kept_tensors
from reward_client.recipes import Recipe, StepsTable, find_recipe, named_recipe

_UNNAMED = "unnamed"
_HUB_FOLDER = re.compile(r"models--(.+)")


def export_checkpoint(
    source: str | PathLike[str],
    destination: str | PathLike[str],
    *,
    head: str | PathLike[str] = "auto",
    link: Link = "hard",
    force: bool = False,
    recipe: Recipe | str | PathLike[str] | None = "auto",
    progress: bool = False,
) -> ExportReport:
    """Convert a checkpoint so that ``/v1/embeddings`` of vLLM returns its raw rewards.

    The layers of the head become sentence-transformers ``Dense`` modules. vLLM 0.10.2 and later
    apply these to the last token's hidden state. Only the weights of the head are decoded; all
    other tensors are copied unchanged, or their files are linked. The export needs at most 64 MiB
    of memory besides the head. If it ends early for any reason, it leaves no incomplete folder.

    Args:
        source: A folder in the layout of the Hugging Face hub, with ``config.json``, a tokenizer
            and weights in safetensors.
        destination: The folder to write.
        head: ``"auto"`` for the head in the checkpoint. For a language model, ``"lm-head:TOKEN"``
            for a token's logit, or ``"lm-head:YES-NO"`` for the difference of two logits; tokens
            are written as in the vocabulary, or as ``id=0``. Or the path of a safetensors file with
            a linear layer on the hidden state.
        link: How to add weight files that stay unchanged: as hard links, symbolic links or copies.
            Files that cannot be linked are copied.
        force: Replace an earlier export.
        recipe: The recipe of the source: a name, a path, a `reward_client.recipes.Recipe`, or None.
            ``"auto"`` finds it by the source's name.
        progress: Show a progress bar.

    Raises:
        ExportError: If an option is invalid, if the source is broken, if dense layers cannot
            express its head, or if the destination cannot be written.
        RecipeError: If the recipe does not exist or is invalid.
    """
    check_choice("link", link, get_args(Link), ExportError)
    check_flags(ExportError, force=force, progress=progress)
    folder, target = apart(source, destination)
    checkpoint = read_checkpoint(folder)
    name = _name(folder)
    known = _recipe_of(recipe, name, checkpoint)
    found = find_head(checkpoint, str(head))
    if head == "auto" and known is not None and isinstance(known.head_table, StepsTable):
        found = replace(found, kind="steps", labels=())
    backbone = backbone_of(checkpoint.config)
    companions = companions_of(folder)
    kept = kept_tensors(checkpoint, found.drop)
    check_free_space(target, _bytes_to_write(checkpoint, kept, found, link, target))

    with (
        new_folder(target, force=force) as unfinished,
        progress_bar(
            total=sum(shard.size for shard in checkpoint.shards),
            desc=f"export {printable(name)}",
            unit="B",
            unit_scale=True,
            is_shown=progress,
        ) as bar,
    ):
        writer = FolderWriter(unfinished, link, bar.update)
        for path in companions:
            writer.copy(str(path.relative_to(folder)), path)
        _write_weights(writer, checkpoint, kept)
        writer.record("config.json", folder / "config.json")
        if found.file is not None:
            writer.record(found.file.name, found.file)
        writer.write_json("config.json", backbone_config(checkpoint.config, backbone))
        for file, content in module_files(found.layers, found.layers[0].in_features):
            writer.write(file, content)
        for index, layer in enumerate(found.layers):
            writer.write_dense(f"{dense_folder(index)}/model.safetensors", layer)
        refuse_changes(checkpoint.shards)
        manifest = build_manifest(
            name, checkpoint.architecture or _UNNAMED, found, backbone, known, writer.digests
        )
        writer.write(MANIFEST, serialize(manifest))
    return ExportReport(folder, target, manifest, found.name, writer.written, writer.linked)


def _write_weights(writer: FolderWriter, checkpoint: Checkpoint, kept: Mapping[str, str]) -> None:
    weight_map: dict[str, str] = {}
    for shard in checkpoint.shards:
        names = {entry.name: kept[entry.name] for entry in shard.entries if entry.name in kept}
        weight_map |= dict.fromkeys(names.values(), shard.name)
        if not names:
            writer.record_shard(shard)
        elif len(names) == len(shard.entries) and all(new == old for old, new in names.items()):
            writer.link_or_copy(shard)
        else:
            writer.write_tensors(shard, names)
    if checkpoint.is_sharded:
        size = sum(
            tensor.entry.end - tensor.entry.start
            for name, tensor in checkpoint.tensors.items()
            if name in kept
        )
        writer.write_index(weight_map, size)


def _bytes_to_write(
    checkpoint: Checkpoint,
    kept: Mapping[str, str],
    found: FoundHead,
    link: Link,
    destination: Path,
) -> int:
    def is_unchanged(shard: Shard) -> bool:
        return all(kept.get(entry.name) == entry.name for entry in shard.entries)

    weights = sum(
        shard.size
        for shard in checkpoint.shards
        if not (is_unchanged(shard) and can_link(shard, link, destination))
    )
    numbers = sum(layer.in_features * layer.out_features for layer in found.layers)
    return weights + 4 * numbers


def _recipe_of(
    recipe: Recipe | str | PathLike[str] | None, name: str, checkpoint: Checkpoint
) -> Recipe | None:
    if recipe is None or isinstance(recipe, Recipe):
        return recipe
    if recipe != "auto":
        return named_recipe(recipe)
    # The name of a folder does not prove which model it contains.
    found = find_recipe(name)
    fits = found is not None and checkpoint.architecture in found.architectures
    return found if fits else None


def _name(folder: Path) -> str:
    """Return the name of the source; in a hub cache, it is the model's ID."""
    in_cache = _HUB_FOLDER.fullmatch(folder.parent.parent.name)
    if in_cache and folder.parent.name == "snapshots":
        return in_cache[1].replace("--", "/", 1)
    return os.fsencode(folder.name).decode(errors="replace")
