"""From a checkpoint to the folder that is served: what is read, decided and written, in order."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from reward_client.errors import ExportError
from reward_client.export.backbones import backbone_config, backbone_of
from reward_client.export.checkpoint import (
    INDEX,
    Checkpoint,
    Shard,
    clipped,
    read_checkpoint,
    refuse_changes,
)
from reward_client.export.disk import Link, can_link, refuse_full_disk
from reward_client.export.folder_writer import Writer
from reward_client.export.head_finder import FoundHead, find_head
from reward_client.export.manifest import manifest_of, serialized
from reward_client.export.modules import dense_folder, module_files
from reward_client.export.output_folder import MANIFEST, new_folder
from reward_client.export.report import ExportReport
from reward_client.export.tensor_names import kept_tensors
from reward_client.recipes import Recipe, StepsTable, find_recipe, named_recipe

# What belongs to the tokenizer, the code that it may need, and the terms of use.
_COMPANIONS = (
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt"),
    *("merges.txt", "*.model", "*.model.v*", "*.tiktoken", "tekken.json", "chat_template*"),
    *("additional_chat_templates/*.jinja", "*.py", "LICENSE*", "NOTICE*", "USE_POLICY*"),
)
_UNNAMED = "unnamed"
_TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken", "tekken.json")
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
    """Writes a checkpoint anew so that ``/v1/embeddings`` of a vLLM answers its raw rewards.

    The head's layers become sentence-transformers ``Dense`` modules, which vLLM applies to the
    last token's hidden state since 0.10.2. The head's own weights are all that is decoded: other
    tensors are copied byte by byte, or their files linked. At most 64 MiB are in memory besides
    the head. The destination is whole or not there: whatever ends an export early leaves nothing.

    Args:
        source: A folder in the layout of the Hugging Face hub: ``config.json``, the tokenizer,
            weights in safetensors.
        destination: The folder to write.
        head: ``"auto"`` for the head that the checkpoint holds; ``"lm-head:TOKEN"`` or
            ``"lm-head:YES-NO"`` for a language model's logit of a token, or for the difference of
            two (tokens as the vocabulary spells them, or ``id=0``); the path of a safetensors file
            for a linear layer of yours on the hidden state.
        link: How files come there whose weights stay as they are: as hard links, symbolic links,
            or copies. Where links cannot be made they are copied.
        force: Whether an earlier export may be replaced.
        recipe: What is known of the source: a name, the path of a recipe, None, or a
            `reward_client.recipes.Recipe`; ``"auto"`` looks it up by the source's name.
        progress: Whether to show a progress bar.

    Raises:
        ExportError: The source is broken, or its head cannot be found or said in dense layers, or
            the destination cannot be written.
        RecipeError: There is no such recipe, or it is broken.
    """
    if link not in get_args(Link):
        raise ExportError(
            f"link= must be one of {', '.join(get_args(Link))}, not {clipped(repr(link))}."
        )
    folder, target = _absolute(source), _absolute(destination)
    one, other = folder.resolve(), target.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise ExportError(f"{target} and {folder} lie in one another.")
    checkpoint = read_checkpoint(folder)
    name = _name(folder)
    known = _known(recipe, name, checkpoint)
    found = find_head(checkpoint, str(head))
    if head == "auto" and known is not None and isinstance(known.head_table, StepsTable):
        found = replace(found, kind="steps", labels=())
    backbone = backbone_of(checkpoint.config)
    companions = _companions(folder)
    kept = kept_tensors(checkpoint, found.drop)
    refuse_full_disk(target, _needed(checkpoint, kept, found, link, target))

    with (
        new_folder(target, force=force) as unfinished,
        tqdm(
            total=sum(shard.size for shard in checkpoint.shards),
            desc=f"export {name}",
            unit="B",
            unit_scale=True,
            disable=not progress,
        ) as bar,
    ):
        writer = Writer(unfinished, link, bar.update)
        for path in companions:
            writer.small(str(path.relative_to(folder)), path)
        _write_weights(writer, checkpoint, kept)
        writer.digest("config.json", folder / "config.json")
        if found.file is not None:
            writer.digest(found.file.name, found.file)
        writer.content("config.json", _json(backbone_config(checkpoint.config, backbone)))
        for file, content in module_files(found.layers, found.layers[0].in_features):
            writer.content(file, content)
        for index, layer in enumerate(found.layers):
            writer.dense(f"{dense_folder(index)}/model.safetensors", layer)
        refuse_changes(checkpoint.shards)
        manifest = manifest_of(
            name, checkpoint.architecture or _UNNAMED, found, backbone, known, writer.digests
        )
        writer.content(MANIFEST, serialized(manifest))
    return ExportReport(folder, target, manifest, found.name, writer.written, writer.linked)


def _write_weights(writer: Writer, checkpoint: Checkpoint, kept: Mapping[str, str]) -> None:
    placed: dict[str, str] = {}
    for shard in checkpoint.shards:
        names = {entry.name: kept[entry.name] for entry in shard.entries if entry.name in kept}
        placed |= dict.fromkeys(names.values(), shard.name)
        if not names:
            writer.nothing_of(shard)
        elif len(names) == len(shard.entries) and all(new == old for old, new in names.items()):
            writer.whole(shard)
        else:
            writer.without(shard, names)
    if checkpoint.is_sharded:
        size = sum(
            tensor.entry.end - tensor.entry.start
            for name, tensor in checkpoint.tensors.items()
            if name in kept
        )
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(placed.items()))}
        writer.content(INDEX, _json(index))


def _needed(
    checkpoint: Checkpoint,
    kept: Mapping[str, str],
    found: FoundHead,
    link: Link,
    destination: Path,
) -> int:
    """The bytes that will be written."""

    def stays(shard: Shard) -> bool:
        return all(kept.get(entry.name) == entry.name for entry in shard.entries)

    weights = sum(
        shard.size
        for shard in checkpoint.shards
        if not (stays(shard) and can_link(shard, link, destination))
    )
    numbers = sum(layer.in_features * layer.out_features for layer in found.layers)
    return weights + 4 * numbers


def _known(
    recipe: Recipe | str | PathLike[str] | None, name: str, checkpoint: Checkpoint
) -> Recipe | None:
    if recipe is None or isinstance(recipe, Recipe):
        return recipe
    if recipe != "auto":
        return named_recipe(recipe)
    # A folder may be called like a model that it is not.
    found = find_recipe(name)
    fits = found is not None and checkpoint.architecture in found.architectures
    return found if fits else None


def _name(folder: Path) -> str:
    """What the source is called: in a hub cache, the model's ID."""
    in_cache = _HUB_FOLDER.fullmatch(folder.parent.parent.name)
    if in_cache and folder.parent.name == "snapshots":
        return in_cache[1].replace("--", "/", 1)
    return os.fsencode(folder.name).decode(errors="replace")


def _companions(folder: Path) -> Sequence[Path]:
    paths = {path for pattern in _COMPANIONS for path in folder.glob(pattern)}
    found = sorted(path for path in paths if path.is_file())
    if not any(path.match(pattern) for path in found for pattern in _TOKENIZERS):
        raise ExportError(
            f"{folder} has no tokenizer ({', '.join(_TOKENIZERS)}), without which nobody can serve "
            "it: copy the tokenizer's files there."
        )
    return found


def _absolute(path: str | PathLike[str]) -> Path:
    try:
        absolute = Path(path).expanduser().absolute()
        with suppress(OSError):
            absolute.lstat()  # a name that no file can have is told only now
    except (TypeError, ValueError, RuntimeError) as error:
        raise ExportError(f"{clipped(repr(path))} is no path: {error}.") from error
    return absolute


def _json(content: object) -> bytes:
    return json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n"
