"""Score a file: read, score and write at the same time, and resume an earlier run."""

from __future__ import annotations

import logging
import os
import time
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import orjson

from reward_client._base.atomic_file import replace_file
from reward_client._base.choices import check_flags
from reward_client._base.json_values import as_mapping
from reward_client._base.progress import progress_bar
from reward_client._base.results import Provenance, ScoreResult, Settings
from reward_client._client.equal_settings import (
    difference,
    each_server,
    origin_difference,
    with_replicas,
)
from reward_client._client.failures import warn_of_failures
from reward_client._client.streaming import Outcome
from reward_client._client.sync_client import RewardClient, compares
from reward_client._rows.comparisons import is_complete
from reward_client._rows.forms import Columns
from reward_client._rows.grouping import Grouping
from reward_client._rows.layout import OneLayout
from reward_client._rows.results import names_by_options
from reward_client._rows.scored import ScoredRow
from reward_client._rows.scoring import check_options
from reward_client.errors import (
    FileError,
    ModelChangedError,
    RewardClientError,
    ServerUnreachableError,
)
from reward_client.files.arguments import checked_paths, paths_of
from reward_client.files.contests import with_contest
from reward_client.files.groups import check_by, with_column
from reward_client.files.inputs.line import Line
from reward_client.files.inputs.source import Source
from reward_client.files.outputs.assembly import Assembly
from reward_client.files.outputs.output import Output, output_of
from reward_client.files.repetition import Repetition
from reward_client.files.results import (
    Lines,
    Results,
    Stream,
    file_errors,
    is_empty,
    retry_path,
)
from reward_client.files.rows import Row, RowReader, passing_columns, result_line, result_of
from reward_client.files.settings import (
    add_replicas,
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
    source: str | PathLike[str] | Sequence[str | PathLike[str]],
    destination: str | PathLike[str],
    *,
    form: str | None = None,
    columns: Columns | None = None,
    retry_failed: bool = False,
    progress: bool = False,
    by: str | None = None,
) -> ScoreSummary:
    """Score the rows of files, or resume an earlier run.

    A failure of a single row does not end the run; the row's result is then an error.

    Args:
        client: The client that scores the rows.
        source: A file, a folder of files, or several, in their order: JSON lines, a JSON array,
            CSV, Parquet, Arrow, or a data set of ``datasets`` on disk. Texts may be compressed with
            gzip or zstd.
        destination: The output: all columns of the rows, in the same order, with their rewards. Its
            name gives the format: ``.parquet``, ``.arrow``, ``.csv``, ``.tsv``, ``.json`` (an
            array), ``.jsonl.gz``, ``.jsonl.zst``, a folder of ``datasets`` if it ends with a slash,
            and otherwise JSON lines. The settings of the run are written beside it
            (``….settings.json``), and unless it is of plain JSON lines its results as well
            (``….rewards.jsonl``).
        form: As in `reward_client.RewardClient.score_rows`.
        columns: As in `reward_client.RewardClient.score_rows`.
        retry_failed: Score rows again that failed in an earlier run.
        progress: Show a progress bar.
        by: The name of a column. The summary counts the rows of each of its values apart.

    Raises:
        InputError: If an argument or an option is invalid, or if none of the first 100 rows has the
            column ``by``.
        FileError: If a file cannot be read or written, if another process is writing the output, if
            the output belongs to another input, model or setting, or if the first 100 rows fail
            alike. All written results are kept.
        ImportError: If a format needs pyarrow (extra ``data``), which is not installed.
        ServerUnreachableError: If the server cannot be reached any more. All written results are
            kept, and the same call resumes the run.
        RewardClientError: If the client cannot determine how to use the server.
    """
    origins = checked_paths("score_file", client, source, destination)
    check_options(form, columns)
    check_flags(retry_failed=retry_failed, progress=progress)
    check_by(by)
    output = output_of(destination)
    target = output.results
    with ExitStack() as stack:
        rows = stack.enter_context(Source(*origins))
        _check_output(rows, origins, output)
        results = stack.enter_context(Results(target))  # before any work: another run may hold it
        with results.preparing():
            assembly = Assembly(rows, output) if output.is_assembled else None
            lines = with_column(rows.lines(), by)
            if compares(client):
                lines = with_contest(lines, form, columns)
            monitor = _ServerMonitor(client, output.path)
        # A retry writes a second file, which replaces the results at the end. A stopped retry is
        # resumed first, so that its rewards are not computed again.
        retry = retry_path(target)
        before: Iterable[bytes] = ()
        if is_empty(target):
            write_settings(output.path, monitor.settings)
        else:
            monitor.resume()
            if retry_failed or retry.exists():
                before = results.whole_lines()
                results = stack.enter_context(Results(retry))
        reader = RowReader(
            settings_digest(monitor.settings),
            form,
            columns,
            passes=assembly is None,
            layout=OneLayout() if output.is_typed else None,
            compares=compares(client),
        )
        run = _Run(rows, lines, results, reader, by)
        run.skip_written()
        summary = run.score(client, monitor, before, progress=progress)
        monitor.warn_of_midnight()
        results.sync()
        if results.path != target:
            with file_errors(target):
                replace_file(results.path, target)
        if assembly is not None:
            names = names_by_options(monitor.settings.on_overlong, compares=compares(client))
            assembly.write(names)
        return summary


def score_stream(
    client: RewardClient,
    source: str | PathLike[str] | Sequence[str | PathLike[str]],
    results: Stream,
    *,
    form: str | None = None,
    columns: Columns | None = None,
    progress: bool = False,
    by: str | None = None,
) -> ScoreSummary:
    """Score files into a stream of JSON lines, such as stdout. The run cannot be resumed.

    Args:
        client: The client that scores the rows.
        source: The input, as for `score_file`.
        results: The output. Each line is flushed.
        form: As in `reward_client.RewardClient.score_rows`.
        columns: As in `reward_client.RewardClient.score_rows`.
        progress: Show a progress bar.
        by: As in `score_file`.

    Raises:
        FileError: If the stream cannot be written.
        RewardClientError: As in `score_file`.
    """
    check_options(form, columns)
    with Source(*paths_of("score_file", source)) as rows:
        lines = with_column(rows.lines(), by)
        if compares(client):
            lines = with_contest(lines, form, columns)
        monitor = _ServerMonitor(client)
        digest = settings_digest(monitor.settings)
        reader = RowReader(digest, form, columns, compares=compares(client))
        run = _Run(rows, lines, results, reader, by)
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
        results: Lines,
        reader: RowReader,
        by: str | None,
    ) -> None:
        self.tally = Tally(by)
        self._by = by
        self._repetition = Repetition(source.name, resumes=isinstance(results, Results))
        self.end = 0
        self._source = source
        self._results = results
        self._reader = reader
        self._lines = lines

    def skip_written(self) -> None:
        """Skip the rows with earlier results, after a check that the results belong to them."""
        for written in self._results.whole_lines():
            line = next(self._lines, None)
            digest = self._reader.digest(line) if line else ""
            result = self._checked(written, line, digest)
            self.tally.add(self._scored_row(result, line), is_kept=True)
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
        scored = _score_rows(client, self.rows(before), monitor.check, self._results.flush)
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
            finally:
                self._results.flush()
        warn_of_failures(self.tally.failures, self.tally.rows, "rows")
        compared = self.tally.comparisons
        warn_of_failures(self.tally.failed_comparisons, compared, "comparisons")
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
            if written is not None and is_complete(self._checked(written, line, digest)):
                yield Row(line, digest, kept=written)
            else:
                yield self._reader.read(line, digest)
        for written in earlier:
            self._checked(written, None, "")

    def write(self, row: Row, outcomes: list[Outcome]) -> None:
        """Write the result of a row."""
        if row.kept is not None:
            self._results.append(row.kept)
            self.tally.add(self._scored_row(orjson.loads(row.kept), row.line), is_kept=True)
            return
        result = result_of(row, outcomes)
        self._results.append(result_line(row, result))
        scored = self._scored_row(result, row.line)
        self.tally.add(scored, is_kept=False, unread=row.unread)
        self._repetition.check(scored, self.tally.rows)

    def _scored_row(self, result: dict[str, object], line: Line | None) -> ScoredRow:
        """Return a result with the value of its group, which stands in a column of the row."""
        if self._by is None or line is None:
            return ScoredRow(result)
        return ScoredRow({self._by: passing_columns(line).get(self._by), **result})

    def _checked(self, written: bytes, line: Line | None, digest: str) -> dict[str, object]:
        """Parse the result of a row.

        Args:
            written: The result.
            line: The row; None if the input has no further one.
            digest: The digest of the row.

        Raises:
            FileError: If the result belongs to another row.
        """
        if line is None:
            self._refuse(f"it has more results than {self._source.name} has rows")
        try:
            result = dict(as_mapping(orjson.loads(written)) or {})
        except orjson.JSONDecodeError:
            result = {}
        if "digest" not in result:
            self._refuse(f"its line {line.position + 1} is not a result")
        identity = result.get("row"), result["digest"]
        if identity != (line.position, digest):
            self._refuse(
                f"row {line.position} of {self._source.name} has changed, or is read by another "
                "form or other columns"
            )
        self._reader.note(result)
        return result

    def _refuse(self, reason: str) -> NoReturn:
        raise FileError(
            f"Cannot resume {self._results.path}: {reason}. Restore the original input and "
            "options, or choose another output."
        )


class _ServerMonitor:
    """Ensures that the same model gives all rewards of a run, under the same settings."""

    def __init__(self, client: RewardClient, target: Path | None = None) -> None:
        self.settings: Settings = client.settings()
        self._client = client
        self._target = target
        self._known: list[Provenance] = []

    def resume(self) -> None:
        """Continue under the settings beside the output, unless others hold today.

        Raises:
            FileError: If others do, or they cannot be read or written.
        """
        assert self._target is not None  # noqa: S101 - a stream is not resumed
        earlier = read_settings(self._target)
        changed = difference(earlier, self.settings)
        if changed is not None:
            raise FileError(
                f"Cannot resume {self._target}: {changed}. Restore the earlier model and settings, "
                "or choose another output."
            )
        self.settings = add_replicas(self._target, earlier, self.settings)

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
        now = self._client.settings()
        changed = difference(self.settings, now)
        if changed is None:
            extended = with_replicas(self.settings, each_server(now))
            changed = origin_difference(extended, provenance)
        if changed is not None:
            raise FileError(
                f"Cannot continue the run with another server: {changed}. All written results are "
                "from the earlier server. Start it again to resume, or choose another output."
            )
        if self._target is not None:
            self.settings = add_replicas(self._target, self.settings, now)
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
    client: RewardClient,
    rows: Iterator[Row],
    check: Callable[[Provenance], None],
    before_waiting: Callable[[], None],
) -> Generator[tuple[Row, list[Outcome]]]:
    """Iterate over the rows in order, each with the outcomes of its samples.

    Args:
        client: Scores the samples.
        rows: The rows.
        check: Refuses a reward of another model.
        before_waiting: Called when no further outcome is there.
    """
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
                    if not results.ready:
                        before_waiting()
        except ModelChangedError as error:
            in_doubt = min(error.doubtful, default=None)
            raise _DoubtError(None if in_doubt is None else rows_of[in_doubt - first]) from error
        yield from grouping.without_samples()
        before_waiting()


def _outcome(result: ScoreResult, check: Callable[[Provenance], None]) -> Outcome:
    if result.reward is not None:
        check(result.reward.provenance)
        return result.reward
    assert result.error is not None  # noqa: S101 - one of the two is set
    if isinstance(result.error, ServerUnreachableError | ModelChangedError):
        raise result.error  # all other rows would fail too
    return result.error


def _check_output(source: Source, origins: Sequence[Path], output: Output) -> None:
    """Refuse an unsuitable output before any request is sent."""
    with file_errors(output.path):
        exists = os.path.lexists(output.path)
        same = [path for path in source.paths if exists and output.path.samefile(path)]
        around = [path for path in origins if path.is_dir() and path.samefile(output.path.parent)]
        others = output.other_files() if exists else []
    if same:
        raise FileError(f"Cannot use {same[0]} as both input and output. Choose another output.")
    if around:
        raise FileError(
            f"Cannot write {output.path}: it is in the input folder {around[0]}, and would be read "
            "as a part of the input. Choose another output."
        )
    if others:
        raise FileError(
            f"Cannot write {output.path}: the folder holds {others[0]}, which is no part of a data "
            "set of an earlier run. Move it, or choose another output."
        )
    if not is_empty(output.results):
        return
    _check_side_files(output)
    if output.is_assembled and exists and not os.path.lexists(output.results):
        raise FileError(
            f"Cannot write {output.path}: it exists, and {output.results.name}, which an earlier "
            "run would have written, does not. Move or delete it, or choose another output."
        )


def _check_side_files(output: Output) -> None:
    """Refuse to begin beside files that the run would write, and that it may not have written."""
    retry = retry_path(output.results)
    if os.path.lexists(retry):
        raise FileError(
            f"Cannot begin {output.path}: {retry.name} exists, and a retry of failed rows writes a "
            "file of this name. Move or delete it, or choose another output."
        )
    if output.is_assembled and os.path.lexists(output.unfinished):
        raise FileError(
            f"Cannot begin {output.path}: {output.unfinished.name} exists, and the run writes a "
            "file of this name. Move or delete it, or choose another output."
        )
    if os.path.lexists(settings_path(output.path)):
        refuse_foreign_settings(output.path)


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
