"""The files of a checkpoint besides its configuration and its weights, and where it lies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path

from reward_client.errors import ExportError
from reward_client.export.checkpoint import check_link, sanitize

# Files of the tokenizer, its code, and the terms of use.
_COMPANIONS = (
    *("tokenizer*.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt"),
    *("merges.txt", "*.model", "*.model.v*", "*.tiktoken", "tekken.json", "chat_template*"),
    *("additional_chat_templates/*.jinja", "*.py", "LICENSE*", "NOTICE*", "USE_POLICY*"),
)
_TOKENIZERS = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken", "tekken.json")


def companions_of(folder: Path) -> Sequence[Path]:
    """Return the files of the tokenizer, of its code, and of the terms of use.

    Raises:
        ExportError: If the folder has no tokenizer, or a file is a link out of it.
    """
    paths = {path for pattern in _COMPANIONS for path in folder.glob(pattern)}
    found = sorted(path for path in paths if not path.is_dir())
    for path in found:
        check_link(path, folder)
    if not any(path.match(pattern) for path in found for pattern in _TOKENIZERS):
        raise ExportError(
            f"Cannot export {folder}: it has no tokenizer ({', '.join(_TOKENIZERS)}), which a "
            "server needs. Copy the tokenizer's files into the folder."
        )
    return found


def apart(source: str | PathLike[str], destination: str | PathLike[str]) -> tuple[Path, Path]:
    """Return the absolute paths of two folders, neither of which contains the other.

    Raises:
        ExportError: If one contains the other, or is no path.
    """
    folder, target = _absolute(source), _absolute(destination)
    resolved, resolved_target = folder.resolve(), target.resolve()
    if (
        resolved == resolved_target
        or resolved in resolved_target.parents
        or resolved_target in resolved.parents
    ):
        raise ExportError(
            f"Cannot export {folder} to {target}: one folder contains the other. Choose another "
            "destination."
        )
    return folder, target


def _absolute(path: str | PathLike[str]) -> Path:
    try:
        absolute = Path(path).expanduser().absolute()
        with suppress(OSError):
            absolute.lstat()  # only this raises for an impossible name
    except (TypeError, ValueError, RuntimeError) as error:
        raise ExportError(f"Cannot use {sanitize(repr(path))} as a path: {error}.") from error
    return absolute
