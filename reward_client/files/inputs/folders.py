"""The files of a folder: a data set of `datasets` on disk, or shards of one format."""

from __future__ import annotations

from pathlib import Path

import orjson

from reward_client._base.json_values import as_list, as_mapping
from reward_client.errors import FileError
from reward_client.files.inputs.line import unreadable

_SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".csv", ".tsv")
_HIDDEN = (".", "_")
"""The beginnings of names that are no data, by the custom of Spark and pyarrow."""
_STATE, _SPLITS = "state.json", "dataset_dict.json"


def files_of(path: Path) -> list[Path]:
    """Return the files that a path names: itself, or those of its folder in their order.

    Raises:
        FileError: If a folder has no data, several data sets, or files of several formats.
    """
    try:
        if not path.is_dir():
            return [path]
        if (path / _SPLITS).is_file():
            raise _several(path)
        if (path / _STATE).is_file():
            return _files_of_dataset(path)
        return _shards(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _several(path: Path) -> FileError:
    parsed = as_mapping(orjson.loads((path / _SPLITS).read_bytes())) or {}
    splits = [str(split) for split in as_list(parsed.get("splits")) or ()]
    example = path / splits[0] if splits else path
    return FileError(
        f"Cannot read {path}: it holds the data sets {', '.join(splits)}. Name one, such as "
        f"{example}."
    )


def _files_of_dataset(path: Path) -> list[Path]:
    """Return the files of a data set in the layout of ``datasets.Dataset.save_to_disk``."""
    state = as_mapping(orjson.loads((path / _STATE).read_bytes())) or {}
    names = [
        (as_mapping(each) or {}).get("filename") for each in as_list(state.get("_data_files")) or ()
    ]
    if not names or not all(isinstance(name, str) for name in names):
        raise FileError(
            f"Cannot read {path}: {_STATE} names no data files: it is empty, or not saved whole."
        )
    return [path / str(name) for name in names]


def _shards(path: Path) -> list[Path]:
    kinds: dict[str, list[Path]] = {}
    for file in sorted(path.iterdir()):
        suffixes = [suffix for suffix in file.suffixes if suffix in _SUFFIXES]
        if file.name.startswith(_HIDDEN):
            continue
        if file.is_dir() and any(each.suffix in _SUFFIXES for each in file.rglob("*")):
            raise FileError(
                f"Cannot read the folder {path}: its folder {file.name} holds data too. Name the "
                "folders or files to read."
            )
        if file.is_file() and suffixes:
            kinds.setdefault(suffixes[-1], []).append(file)
    if len(kinds) != 1:
        found = ", ".join(f"{len(files)} {kind}" for kind, files in kinds.items())
        raise FileError(
            f"Cannot read the folder {path}: it holds {found or 'no files of data'}. Name the "
            "files to read."
        )
    (files,) = kinds.values()
    return files
