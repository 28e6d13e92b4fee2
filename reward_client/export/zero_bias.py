"""`add_zero_bias`: a copy of a classifier whose head has the bias that SGLang gives it."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import get_args

from reward_client._base.choices import check_choice, check_flags
from reward_client._base.progress import progress_bar
from reward_client._base.safetensors import Entry, encoded_header
from reward_client._printable import printable
from reward_client.errors import ExportError
from reward_client.export.checkpoint import Checkpoint, read_checkpoint, refuse_changes, sanitize
from reward_client.export.companions import apart, companions_of
from reward_client.export.folder_writer import FolderWriter
from reward_client.export.output_folder import Link, can_link, check_free_space, new_folder

_ARCHITECTURES = ("Qwen2ForSequenceClassification", "Qwen3ForSequenceClassification")
_WEIGHT, _BIAS = "score.weight", "score.bias"
# transformers reads model.safetensors where it is, and then neither this file nor the index.
_FILE = "score-bias.safetensors"
_BYTES = 4  # of a float32


@dataclass(frozen=True, slots=True)
class ZeroBiasReport:
    """The result of `add_zero_bias`.

    Attributes:
        source: The source checkpoint.
        destination: The written folder.
        labels: Number of zeros in the bias: one for each label.
        linked: Number of bytes in linked files.
    """

    source: Path
    destination: Path
    labels: int
    linked: int

    @property
    def serve(self) -> str:
        """The command that serves the copy."""
        return f"python -m sglang.launch_server --model-path {self.destination} --is-embedding"

    def __str__(self) -> str:
        """Format the report for a terminal."""
        zeros = "a zero" if self.labels == 1 else f"{self.labels} zeros"
        return (
            f"Wrote {self.destination}: {self.source.name} with {zeros} as {_BIAS}.\n"
            f"{self.linked / 1e6:,.1f} MB linked.\n\n"
            f"Serve the copy with SGLang:\n  {self.serve}"
        )


def add_zero_bias(
    source: str | PathLike[str],
    destination: str | PathLike[str],
    *,
    link: Link = "hard",
    force: bool = False,
    progress: bool = False,
) -> ZeroBiasReport:
    """Copy a Qwen2 or Qwen3 classifier, with a bias of zeros for its head.

    SGLang builds the heads of these classifiers with a bias. If the checkpoint has none, the bias
    keeps the random numbers of the server's start, and SGLang adds them to every reward. The zeros
    are in a file of their own; all other weight files are linked, or copied unchanged. If the copy
    ends early for any reason, it leaves no incomplete folder.

    Args:
        source: A folder in the layout of the Hugging Face hub, with ``config.json``, a tokenizer
            and weights in safetensors.
        destination: The folder to write. Call it like the model, so that clients find its recipe.
        link: How to add the weight files: as hard links, symbolic links or copies. Files that
            cannot be linked are copied.
        force: Replace an earlier copy.
        progress: Show a progress bar.

    Raises:
        ExportError: If an option is invalid, if the source is broken or needs no bias, or if the
            destination cannot be written.
    """
    check_choice("link", link, get_args(Link), ExportError)
    check_flags(ExportError, force=force, progress=progress)
    folder, target = apart(source, destination)
    checkpoint = read_checkpoint(folder)
    labels = _labels(checkpoint)
    companions = companions_of(folder)
    copied = [shard for shard in checkpoint.shards if not can_link(shard, link, target)]
    check_free_space(target, sum(shard.size for shard in copied))
    with (
        new_folder(target, force=force, marks=(_FILE,)) as unfinished,
        progress_bar(
            total=sum(shard.size for shard in copied),
            desc=f"copy {printable(folder.name)}",
            unit="B",
            unit_scale=True,
            is_shown=progress and bool(copied),
        ) as bar,
    ):
        writer = FolderWriter(unfinished, link, bar.update)
        for path in (folder / "config.json", *companions):
            writer.copy(str(path.relative_to(folder)), path)
        for shard in checkpoint.shards:
            if not writer.link(shard):
                writer.copy_shard(shard)
        bias = Entry(_BIAS, "F32", (labels,), 0, _BYTES * labels)
        writer.write(_FILE, encoded_header([bias], {"format": "pt"}) + bytes(bias.end))
        placed = {entry.name: shard.name for shard in checkpoint.shards for entry in shard.entries}
        size = sum(
            entry.end - entry.start for shard in checkpoint.shards for entry in shard.entries
        )
        writer.write_index({**placed, _BIAS: _FILE}, size + bias.end)
        refuse_changes(checkpoint.shards)
    return ZeroBiasReport(folder, target, labels, writer.linked)


def _labels(checkpoint: Checkpoint) -> int:
    """Return the number of labels of a head that needs a bias.

    Raises:
        ExportError: If the head needs none.
    """
    problem = f"Cannot add a bias to {checkpoint.folder}: "
    if checkpoint.architecture not in _ARCHITECTURES:
        raise ExportError(
            f"{problem}SGLang adds a random one to {' and '.join(_ARCHITECTURES)} only, and "
            f"config.json names {sanitize(checkpoint.architecture) or 'no architecture'}. Serve "
            "the checkpoint as it is."
        )
    if _BIAS in checkpoint.tensors:
        raise ExportError(f"{problem}it has a {_BIAS}. Serve the checkpoint as it is.")
    weight = checkpoint.tensors.get(_WEIGHT)
    if weight is None or len(weight.shape) != 2:
        raise ExportError(
            f"{problem}it has no matrix {_WEIGHT}, which SGLang reads as the head. Save the model "
            "again with transformers."
        )
    return weight.shape[0]
