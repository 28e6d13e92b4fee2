"""The files that a run writes, by the name of its output."""

from __future__ import annotations

import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from reward_client.files.pyarrow import pyarrow_module
from reward_client.files.results import real_path

Kind: TypeAlias = Literal["json lines", "json", "csv", "tsv", "parquet", "arrow", "datasets"]
Compression: TypeAlias = Literal["gzip", "zstd"]

RESULTS_SUFFIX = ".rewards.jsonl"

_KINDS = MappingProxyType[str, Kind](
    {
        ".json": "json",
        ".csv": "csv",
        ".tsv": "tsv",
        ".parquet": "parquet",
        ".arrow": "arrow",
        ".feather": "arrow",
    }
)
_COMPRESSIONS = MappingProxyType[str, Compression]({".gz": "gzip", ".zst": "zstd", ".zstd": "zstd"})
_DATASET_FILES = ("data-", "state.json", "dataset_info.json", "cache-", "tmp")
_TYPED = ("parquet", "arrow", "datasets")


@dataclass(frozen=True, slots=True)
class Output:
    """An output, and the files beside it.

    Attributes:
        path: The output.
        kind: Its format.
        compression: Its compression; None for none.
    """

    path: Path
    kind: Kind
    compression: Compression | None

    @property
    def is_assembled(self) -> bool:
        """False for plain JSON lines, which a run writes row by row.

        Another output is written at the end of the run, from the input and the lines of results.
        """
        return self.kind != "json lines" or self.compression is not None

    @property
    def is_typed(self) -> bool:
        """True if a column has one type in all rows."""
        return self.kind in _TYPED

    @property
    def needs_pyarrow(self) -> bool:
        """True if the library pyarrow writes the output."""
        return self.is_typed or self.compression == "zstd"

    @property
    def results(self) -> Path:
        """The file of the lines of results."""
        return self._beside(RESULTS_SUFFIX) if self.is_assembled else self.path

    @property
    def unfinished(self) -> Path:
        """The file or folder that takes the place of the output when it is complete."""
        return self._beside(".new")

    def other_files(self) -> list[str]:
        """Return the names of files in the folder of a data set that no run has written.

        The library `datasets` puts the files of its cache there.
        """
        if self.kind != "datasets" or not self.path.is_dir():
            return []
        names = (path.name for path in self.path.iterdir())
        return sorted(name for name in names if not name.startswith(_DATASET_FILES))

    def pyarrow(self, module: str = "") -> Any:
        """Import pyarrow, or a module of it, to write the output.

        Raises:
            ImportError: If it is not installed.
        """
        format_ = self.compression if self.compression == "zstd" else self.kind
        return pyarrow_module(f"Cannot write {self.path}: {format_}", module)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}{suffix}")


def output_of(destination: str | PathLike[str]) -> Output:
    """Return the output of a name. A name that ends with a slash is a folder of `datasets`.

    Raises:
        FileError: If the path cannot be resolved.
    """
    path = real_path(Path(destination))
    if os.fspath(destination).endswith(("/", os.sep)):
        return Output(path, "datasets", None)
    compression = _COMPRESSIONS.get(path.suffix.lower())
    inner = Path(path.stem) if compression else path
    kind = _KINDS.get(inner.suffix.lower(), "json lines")
    if compression and kind in _TYPED:  # these have a compression of their own
        return Output(path, "json lines", compression)
    return Output(path, kind, compression)
