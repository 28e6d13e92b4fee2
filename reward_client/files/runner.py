"""Score a file: read, score and write at the same time, and resume an earlier run."""

from __future__ import annotations

import logging
import os
import time
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import orjson

from reward_client._base.atomic_file import replace_file
from reward_client._base.choices import check_flags
from reward_client._base.json_values import as_mapping
from reward_client._base.progress import progress_bar
from reward_client._base.results import Provenance, ScoreResult, Settings
from reward_client._base.wording import describe_type
from reward_client._client.failures import warn_of_failures
from reward_client._client.streaming import Outcome
from reward_client._client.sync_client import RewardClient
from reward_client._rows.grouping import Grouping
from reward_client.errors import (
    FileError,
    InputError,
    ModelChangedError,
    RewardClientError,
    ServerUnreachableError,
)
from reward_client.files.groups import check_by, with_column
from reward_client.files.reader import Line, Source
from reward_client.files.repetition import Repetition
from reward_client.files.results import (
    Results,
    Stream,
    file_errors,
    is_empty,
    real_path,
    retry_path,
)
from reward_client.files.rows import Row, RowReader, result_line, result_of
from reward_client.files.settings import (
    difference,
    read_settings,
    refuse_foreign_settings,
    settings_digest,
    settings_path,
    write_settings,
)
from reward_client.files.summary import ScoreSummary
from reward_client.files.tally import Tally

if TYPE_CHECKING:
    from tqdm import tqdm


_logger = logging.getLogger("reward_client")


def score_file(
    client: RewardClient,
    source: str | PathLike[str],
    destination: str | PathLike[str],
    *,
    retry_failed: bool = False,
    progress: bool = False,
    by: str | None = None,
) -> ScoreSummary:
    """Score a file of JSON lines, or resume an earlier run.

    A failure of a single row does not end the run; the row's result is then an error.

    Args:
        client: The client that scores the rows.
        source: The input, plain or compressed with gzip.
        destination: The output, with one line for each row in the same order. The settings of the
            run are written beside it (``….settings.json``).
        retry_failed: Score rows again that failed in an earlier run.
        progress: Show a progress bar.
        by: The name of a column. The summary counts the rows of each of its values apart.

    Raises:
        InputError: If an argument or an option is invalid, or if none of the first 100 rows has the
            column ``by``.
        FileError: If a file cannot be read or written, if another process is writing the output, if
            the output belongs to another input, model or setting, or if the first 100 rows fail
            alike. All written results are kept.
        ServerUnreachableError: If the server cannot be reached any more. All written results are
            kept, and the same call resumes the run.
        RewardClientError: If the client cannot determine how to use the server.
    """
    _check_arguments(client, source, destination)
    check_flags(retry_failed=retry_failed, progress=progress)
    check_by(by)
    origin, target = Path(source), real_path(Path(destination))
    with ExitStack() as stack:
        rows = stack.enter_context(Source(origin))
        _check_target(origin, target)
        lines = with_column(rows.lines(), by)
        monitor = _ServerMonitor(client)
        results = stack.enter_context(Results(target))
        # A retry writes a second file, which replaces the output at the end. A stopped retry is
        # resumed first, so that its rewards are not computed again.
        retry = retry_path(target)
        before: Iterable[bytes] = ()
        if is_empty(target):
            write_settings(target, monitor.settings)
        else:
            _check_settings(target, monitor.settings)
            if retry_failed or retry.exists():
                before = results.whole_lines()
                results = stack.enter_context(Results(retry))
        reader = RowReader(settings_digest(monitor.settings))
        run = _Run(rows, lines, results, reader, by)
        run.skip_written()
        summary = run.score(client, monitor, before, progress=progress)
        monitor.warn_of_midnight()
        results.sync()
        if results.path != target:
            with file_errors(target):
                replace_file(results.path, target)
        return summary


def score_stream(
    client: RewardClient,
    source: str | PathLike[str],
    stream: BinaryIO,
    *,
    progress: bool = False,
    by: str | None = None,
) -> ScoreSummary:
    """Score a file of JSON lines into a stream, such as stdout. The run cannot be resumed.

    Args:
        client: The client that scores the rows.
        source: The input, as for `score_file`.
        stream: The output. Each line is flushed.
        progress: Show a progress bar.
        by: As in `score_file`.

    Raises:
        FileError: If the stream cannot be written.
        RewardClientError: As in `score_file`.
    """
    with Source(Path(source)) as rows:
        lines = with_column(rows.lines(), by)
        monitor = _ServerMonitor(client)
        reader = RowReader(settings_digest(monitor.settings))
        run = _Run(rows, lines, Stream(stream), reader, by)
        return run.score(client, monitor, (), progress=progress)


class _DoubtError(Exception):
    """Another model has scored the next row.

    Attributes:
        row: The first row with a result that another model may have scored; None if there is none.
    """

    def __init__(self, row: int | None) -> None:
        super().__init__(row)
        self.row = row


class _Run:
    """One pass over the input, whose first rows may have results already.

    Attributes:
        tally: Counts of the results so far.
        end: Bytes of the input that were read for rows with earlier results.
    """

    def __init__(
        self,
        source: Source,
        lines: Iterator[Line],
        results: Results | Stream,
        reader: RowReader,
        by: str | None,
    ) -> None:
        self.tally = Tally(by)
        self._by = by
        self._repetition = Repetition(source.path, resumes=isinstance(results, Results))
        self.end = 0
        self._source = source
        self._results = results
        self._reader = reader
        self._lines = lines

    def skip_written(self) -> None:
        """Skip the rows with earlier results, after a check that the results belong to them."""
        for written in self._results.whole_lines():
            line = next(self._lines, None)
            self.tally.add(self._checked(written, line), is_kept=True)
            self.end = line.end if line else 0

    def score(
        self,
        client: RewardClient,
        monitor: _ServerMonitor,
        before: Iterable[bytes],
        *,
        progress: bool,
    ) -> ScoreSummary:
        """Score the remaining rows, and write their results.

        Args:
            client: Scores the rows.
            monitor: Refuses rewards of another model.
            before: As for `rows`.
            progress: Show a progress bar.
        """
        started = time.monotonic()
        scored = _score_rows(client, self.rows(before), monitor.check)
        with (
            closing(_bar(self._source.size, self.end, is_shown=progress)) as bar,
            closing(scored),
        ):
            try:
                for row, outcomes in scored:
                    self.write(row, outcomes)
                    if progress:
                        _show(bar, row.line.end, self.tally)
            except _DoubtError as doubt:
                kept = "All written results are from the earlier server"
                if doubt.row is not None:
                    kept = self._results.cut(doubt.row)
                raise FileError(
                    f"Cannot continue the run with another server: "
                    f"{monitor.change() or doubt.__cause__}. {kept}. Start it again to resume, or "
                    "choose another output."
                ) from doubt.__cause__
        warn_of_failures(self.tally.failures, self.tally.rows, "rows")
        return self.tally.summary(time.monotonic() - started)

    def rows(self, before: Iterable[bytes]) -> Iterator[Row]:
        """Iterate over the remaining rows.

        Args:
            before: Results of an earlier pass. Rows keep them, except for errors.
        """
        earlier = islice(before, self.tally.rows, None)
        for line in self._lines:
            digest = self._reader.digest(line)
            written = next(earlier, None)
            if written is not None and "error" not in self._checked(written, line):
                yield Row(line, digest, kept=written)
            else:
                yield self._reader.read(line, digest)
        for written in earlier:
            self._checked(written, None)

    def write(self, row: Row, outcomes: list[Outcome]) -> None:
        """Write the result of a row."""
        if row.kept is not None:
            self._results.append(row.kept)
            self.tally.add(orjson.loads(row.kept), is_kept=True)
            return
        result = result_of(row, outcomes)
        line = result_line(row, result)
        self._results.append(line)
        # The group stands in a column of the row, which the line repeats.
        counted = result if self._by is None else orjson.loads(line)
        self.tally.add(counted, is_kept=False, unread=row.unread)
        self._repetition.check(result, self.tally.rows)

    def _checked(self, written: bytes, line: Line | None) -> dict[str, object]:
        """Parse the result of a row.

        Raises:
            FileError: If the result belongs to another row.
        """
        if line is None:
            self._refuse(f"it has more results than {self._source.path} has rows")
        try:
            result = dict(as_mapping(orjson.loads(written)) or {})
        except orjson.JSONDecodeError:
            result = {}
        if "digest" not in result:
            self._refuse(f"its line {line.position + 1} is not a result")
        identity = result.get("row"), result["digest"]
        if identity != (line.position, self._reader.digest(line)):
            self._refuse(f"row {line.position} of {self._source.path} has changed")
        return result

    def _refuse(self, reason: str) -> NoReturn:
        raise FileError(
            f"Cannot resume {self._results.path}: {reason}. Restore the original input, or choose "
            "another output."
        )


class _ServerMonitor:
    """Ensures that the same model gives all rewards of a run, under the same settings."""

    def __init__(self, client: RewardClient) -> None:
        self.settings: Settings = client.settings()
        self._client = client
        self._known: list[Provenance] = []

    def change(self) -> str | None:
        """Describe what is different from the start of the run; None if nothing is known."""
        with suppress(RewardClientError):
            return difference(self.settings, self._client.settings())
        return None

    def check(self, provenance: Provenance) -> None:
        """Refuse a reward that was obtained under other settings than those of the run.

        Args:
            provenance: Provenance of the reward. The client makes a new object for each server.
        """
        if any(provenance is known for known in self._known):
            return
        now = self._client.settings().model_copy(update=dict(provenance))
        changed = difference(self.settings, now)
        if changed is not None:
            raise FileError(
                f"Cannot continue the run with another server: {changed}. All written results are "
                "from the earlier server. Start it again to resume, or choose another output."
            )
        self._known.append(provenance)

    def warn_of_midnight(self) -> None:
        """Warn if the chat template writes another date than at the start."""
        day = self.settings.prompt_date
        if day is not None and (now := self._client.settings().prompt_date) != day:
            _logger.warning(
                "the chat template writes today's date, and the day changed from %s to %s during "
                "the run: rewards of later rows belong to another prompt",
                day,
                now,
            )


def _score_rows(
    client: RewardClient, rows: Iterator[Row], check: Callable[[Provenance], None]
) -> Generator[tuple[Row, list[Outcome]]]:
    """Iterate over the rows in order, each with the outcomes of its samples."""
    grouping = Grouping(rows)
    while not grouping.ended:
        rows_of, first = array("I"), 0  # the row of each sample that is not proven; the first one
        try:
            with client.stream(grouping.samples()) as results:
                for result in results:
                    results.forget_failures()
                    yield from grouping.without_samples()
                    if results.proven > first:
                        del rows_of[: results.proven - first]
                        first = results.proven
                    rows_of.append(grouping.first.line.position)
                    yield from grouping.add(_outcome(result, check))
        except ModelChangedError as error:
            in_doubt = min(error.doubtful, default=None)
            raise _DoubtError(None if in_doubt is None else rows_of[in_doubt - first]) from error
        yield from grouping.without_samples()


def _outcome(result: ScoreResult, check: Callable[[Provenance], None]) -> Outcome:
    if result.reward is not None:
        check(result.reward.provenance)
        return result.reward
    assert result.error is not None  # noqa: S101 - one of the two is set
    if isinstance(result.error, ServerUnreachableError | ModelChangedError):
        raise result.error  # all other rows would fail too
    return result.error


def _check_arguments(client: object, source: object, destination: object) -> None:
    if not isinstance(client, RewardClient):
        raise InputError(
            'score_file() needs a RewardClient, such as RewardClient("http://localhost:8000"), as '
            f"its first argument, not {describe_type(client)}."
        )
    for path in (source, destination):
        if not isinstance(path, str | PathLike):
            raise InputError(
                f"score_file() reads one file and writes another: {describe_type(path)} is no "
                "path. Write client.stream(samples) for samples in memory."
            )


def _check_target(origin: Path, target: Path) -> None:
    """Refuse an unsuitable output before any request is sent."""
    if is_empty(target):
        _check_side_files(target)
    if target.exists() and origin.exists() and target.samefile(origin):
        raise FileError(f"Cannot use {origin} as both input and output. Choose another output.")
    if target.suffix == ".gz":
        raise FileError(
            f"Cannot write compressed results to {target}: lines are appended to the file. Choose "
            "an output without .gz."
        )


def _check_side_files(target: Path) -> None:
    """Refuse to begin beside files that the run would write, and that it may not have written."""
    retry = retry_path(target)
    if os.path.lexists(retry):
        raise FileError(
            f"Cannot begin {target}: {retry.name} exists, and a retry of failed rows writes a file "
            "of this name. Move or delete it, or choose another output."
        )
    if os.path.lexists(settings_path(target)):
        refuse_foreign_settings(target)


def _check_settings(target: Path, now: Settings) -> None:
    changed = difference(read_settings(target), now)
    if changed is not None:
        raise FileError(
            f"Cannot resume {target}: {changed}. Restore the earlier model and settings, or choose "
            "another output."
        )


def _bar(size: int | None, read: int, *, is_shown: bool) -> tqdm[NoReturn]:
    """Create a progress bar over the bytes of the input, since its rows are not counted first."""
    with_size = "{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]"
    bar_format = with_size if size else "{desc} [{elapsed}]"
    return progress_bar(total=size, initial=read, bar_format=bar_format, is_shown=is_shown)


def _show(bar: tqdm[NoReturn], read: int, tally: Tally) -> None:
    rate = tally.conversations / max(bar.format_dict["elapsed"], 1e-9)
    failed = f", {tally.failures.total():,} failed" if tally.failures else ""
    bar.set_description_str(f"{tally.rows:,} rows, {rate:,.0f} conv/s{failed}", refresh=False)
    bar.update(read - bar.n)
