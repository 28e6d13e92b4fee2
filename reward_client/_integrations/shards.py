"""Files that many machines score: an output for each of them, which is there once it is whole."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson

from reward_client._base.atomic_file import replace_file, write_atomically
from reward_client._base.results import Settings
from reward_client._base.wording import count
from reward_client._client.equal_settings import difference
from reward_client._client.sync_client import RewardClient, patience_of
from reward_client._integrations.clients import refuse_other_model
from reward_client._rows.forms import Columns
from reward_client.errors import FileError
from reward_client.files.inputs.folders import files_of
from reward_client.files.outputs.output import RESULTS_SUFFIX
from reward_client.files.results import file_errors
from reward_client.files.runner import score_file
from reward_client.files.settings import (
    add_replicas,
    read_settings,
    refuse_foreign_settings,
    settings_path,
    write_settings,
)
from reward_client.files.summary import ScoreSummary, counts_line, rate_line, reason_line

_WORK = "_work"
"""The folder in an output with what is not whole. Readers of Parquet skip names with `_`."""
_OPTIONS = "options.json"
_SUFFIX = ".parquet"
_LOCKED_SECONDS = 120.0
"""More than file systems of a network keep the lock of a dead machine (NFS: 90)."""
_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of the input.

    Attributes:
        source: The file.
        output: Its scored file.
    """

    source: Path
    output: Path

    @property
    def unfinished(self) -> Path:
        """The scored file until it is whole."""
        return self.output.parent / _WORK / self.output.name

    def is_whole(self) -> bool:
        """Return True if an earlier run has scored all rows of the file.

        Raises:
            FileError: If the file has changed since then, or cannot be read.
        """
        with file_errors(self.source):
            if not self.output.exists():
                return False
            is_newer = self.source.stat().st_mtime_ns > self.output.stat().st_mtime_ns
        if is_newer:
            raise FileError(
                f"Cannot resume {self.output.parent}: {self.source} has changed since its rows "
                f"were scored. Restore it, delete {self.output} to score it again, or choose "
                "another output."
            )
        return True

    def score(
        self,
        client: RewardClient,
        settings: Settings,
        *,
        form: str | None,
        columns: Columns | None,
        retry_failed: bool,
    ) -> ScoreSummary:
        """Score the file, or resume an earlier run of it.

        Args:
            client: The client of this machine.
            settings: The settings of the run.
            form: As in `score_file`.
            columns: As in `score_file`.
            retry_failed: As in `score_file`.

        Raises:
            ModelChangedError: If another model answers than at the start of the run.
            RewardClientError: As in `score_file`.
        """
        # The first request of a client, to a server that is restarting, would not be repeated long.
        if patience := patience_of(client):
            client.wait_until_ready(timeout=patience)
        refuse_other_model(settings, client.settings())
        score = partial(
            score_file,
            client,
            self.source,
            self.unfinished,
            form=form,
            columns=columns,
            retry_failed=retry_failed,
        )
        summary = _once_unlocked(score)
        with file_errors(self.output):
            replace_file(self.unfinished, self.output)
        return summary


def _once_unlocked(score: Callable[[], ScoreSummary]) -> ScoreSummary:
    """Score a file once no other process writes its results: that of a dead machine may linger.

    Raises:
        FileError: If it is still written after two minutes.
    """
    deadline = time.monotonic() + _LOCKED_SECONDS
    while True:
        try:
            return score()
        except FileError as error:
            if not isinstance(error.__cause__, BlockingIOError) or time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardsSummary:
    """Counts over files.

    Attributes:
        files: Number of files.
        kept_files: Number of files that earlier runs have scored; their rows do not count here.
        rows: Number of rows of the other files.
        failures: Number of failed rows by the type of their first error.
        reasons: The first failed row of each type: its file, its position and the message.
        can_retry: True if a row failed by a fault of the server.
        kept: Number of rows whose results earlier runs have written.
        conversations: Number of conversations that this run scored.
        tokens: Number of tokens in these conversations.
        seconds: Duration of this run.
    """

    files: int
    kept_files: int
    rows: int
    failures: dict[str, int]
    reasons: dict[str, tuple[str, int, str]]
    can_retry: bool
    kept: int
    conversations: int
    tokens: int
    seconds: float

    @property
    def failed(self) -> int:
        """Number of failed rows."""
        return sum(self.failures.values())

    def __str__(self) -> str:
        """Format the summary as lines for people."""
        lines = [f"{count(self.files, 'file')}, {self.kept_files:,} of them in earlier runs"]
        lines.append(counts_line(self.rows, self.failures, self.kept))
        lines += [
            reason_line(error, f"row {row} of {file}", message)
            for error, (file, row, message) in self.reasons.items()
        ]
        if self.conversations:
            lines.append(rate_line(self.conversations, self.tokens, self.seconds))
        return "\n".join(lines)


def shards_of(sources: Iterable[Path], folder: Path) -> list[Shard]:
    """Return the files of an input with their outputs.

    Raises:
        FileError: If a file cannot be found, if two would have one output, or if the folder is a
            part of the input.
    """
    paths = [path.absolute() for path in sources]
    folder = folder.absolute()
    for path in paths:
        if path.is_dir() and folder.is_relative_to(path):
            raise FileError(
                f"Cannot write {folder}: it is in the input folder {path}, and would be read as a "
                "part of the input. Choose another output."
            )
    shards: dict[str, Shard] = {}
    for source in (file for path in paths for file in files_of(path)):
        with file_errors(source):
            source.stat()
        name = source.name.partition(".")[0] + _SUFFIX
        if name in shards:
            raise FileError(
                f"Cannot score {shards[name].source} and {source} into one folder: both would be "
                f"{name}. Rename one, or score it into another folder."
            )
        shards[name] = Shard(source, folder / name)
    return [*shards.values()]


def begin(folder: Path, settings: Settings, form: str | None, columns: Columns | None) -> None:
    """Begin a run, or check that an earlier one is continued as it began.

    Raises:
        FileError: If the folder belongs to another model, setting or form, or cannot be written.
    """
    options = orjson.dumps({"form": form, "columns": columns}, option=orjson.OPT_SORT_KEYS)
    path = folder / _WORK / _OPTIONS
    with file_errors(folder):
        if not path.exists():
            _refuse_foreign(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_settings(folder, settings)
            write_atomically(path, options)
            return
        earlier = read_settings(folder)
        changed = difference(earlier, settings)
        if changed is None and path.read_bytes() != options:
            changed = "the rows were read by another form or other columns"
    if changed is not None:
        raise FileError(
            f"Cannot resume {folder}: {changed}. Restore the earlier model and options, or choose "
            "another output."
        )
    add_replicas(folder, earlier, settings)


def _refuse_foreign(folder: Path) -> None:
    """Refuse to begin a run where something else is.

    Raises:
        FileError: If the folder is not empty, or if its settings file is none of ours.
    """
    if folder.exists() and any(each.name != _WORK for each in folder.iterdir()):
        raise FileError(
            f"Cannot begin {folder}: it is not empty, and no run has begun in it. Choose another "
            "output."
        )
    if settings_path(folder).exists():
        refuse_foreign_settings(folder)


def has_results(folder: Path) -> bool:
    """Return True if a run into this folder has written results."""
    lines = (folder / _WORK).glob(f"*{RESULTS_SUFFIX}")
    return any(folder.glob(f"*{_SUFFIX}")) or any(path.stat().st_size for path in lines)


def summary_of(
    shards: Sequence[Shard], scored: Sequence[tuple[Shard, ScoreSummary]], seconds: float
) -> ShardsSummary:
    """Return the counts over all files of a run."""
    failures: Counter[str] = Counter()
    reasons: dict[str, tuple[str, int, str]] = {}
    scored = sorted(scored, key=lambda pair: shards.index(pair[0]))
    for shard, summary in scored:
        failures.update(summary.failures)
        for error, (row, message) in summary.reasons.items():
            reasons.setdefault(error, (os.fspath(shard.source), row, message))
    each = [summary for _, summary in scored]
    return ShardsSummary(
        files=len(shards),
        kept_files=len(shards) - len(scored),
        rows=sum(summary.rows for summary in each),
        failures=dict(failures),
        reasons=reasons,
        can_retry=any(summary.can_retry for summary in each),
        kept=sum(summary.kept for summary in each),
        conversations=sum(summary.conversations for summary in each),
        tokens=sum(summary.tokens for summary in each),
        seconds=seconds,
    )
