"""A file scored: reading, scoring and writing at the same time, and going on where it stopped."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import orjson

from reward_client._base.json_values import as_mapping
from reward_client._base.results import Provenance, ScoreResult, Settings
from reward_client._base.samples import Sample
from reward_client._client.sync_client import RewardClient
from reward_client.errors import FileError, ServerUnreachableError
from reward_client.files.reader import Line, Source
from reward_client.files.results import Results, is_empty, real_path, remove_file, replace_file
from reward_client.files.rows import Outcome, Row, read_row, result_line, row_digest
from reward_client.files.settings import (
    difference,
    read_settings,
    settings_digest,
    write_settings,
)
from reward_client.files.summary import ScoreSummary, Tally

if TYPE_CHECKING:
    from tqdm import tqdm


_MOST_READY = 10_000
"""Rows with nothing to score that are read before all of them are written."""


def score_file(
    client: RewardClient,
    source: str | PathLike[str],
    destination: str | PathLike[str],
    *,
    retry_failed: bool = False,
    progress: bool = False,
) -> ScoreSummary:
    """Scores a file of JSON lines into another one, or goes on where an earlier run stopped.

    Args:
        client: Scores the rows.
        source: The rows, plain or compressed by gzip.
        destination: The results, a line for each row, in their order. What they were scored with
            is written beside it (``….settings.json``).
        retry_failed: Have rows scored again that failed.
        progress: Show a progress bar.

    Raises:
        FileError: A file cannot be read or written; another process is writing it; or the results
            that are there are of another input, model or setting.
        ServerUnreachableError: The server is gone. What was scored is written, and the same call
            goes on there.
        RewardClientError: The server cannot be found out. Failures of single rows are results.
    """
    origin, target = Path(source), real_path(Path(destination))
    with ExitStack() as stack:
        rows = stack.enter_context(Source(origin))
        _check_target(origin, target)
        watch = _Watch(client)
        results = stack.enter_context(Results(target))
        # A retry writes a new file, which takes the other's place at the end. One that was
        # stopped is ended first: what it has scored would be scored again.
        again = target.with_name(f"{target.name}.retry")
        before: Iterable[bytes] = ()
        if is_empty(target):
            remove_file(again)
            write_settings(target, watch.settings)
        else:
            _check_settings(target, watch.settings)
            if retry_failed or again.exists():
                before = results.whole_lines()
                results = stack.enter_context(Results(again))
        run = _Run(rows, results, settings_digest(watch.settings))
        run.keep_written()
        bar = stack.enter_context(closing(_bar(rows.size, run.end))) if progress else None
        started = time.monotonic()
        scored = _scored(client, run.rows(before), watch.check)
        with closing(scored):
            for row, outcomes in scored:
                run.write(row, outcomes)
                if bar is not None:
                    _show(bar, row.line.end, run.tally)
        results.sync()
        if results.path != target:
            replace_file(results.path, target)
        return run.tally.summary(time.monotonic() - started)


class _Run:
    """One pass over the rows, of which the first ones may have their results already.

    Attributes:
        tally: What became of the rows so far.
        end: How far the input was read for those that had their results.
    """

    def __init__(self, source: Source, results: Results, settings: bytes) -> None:
        self.tally = Tally()
        self.end = 0
        self._source = source
        self._results = results
        self._settings = settings
        self._lines = source.lines()

    def keep_written(self) -> None:
        """Goes past the rows that have results, which must be theirs."""
        for written in self._results.whole_lines():
            line = next(self._lines, None)
            self.tally.add(self._checked(written, line), is_kept=True)
            self.end = line.end if line else 0

    def rows(self, before: Iterable[bytes]) -> Iterator[Row]:
        """The rows without a result; those that were scored before come with theirs.

        Args:
            before: The results of an earlier pass, whose failures are tried again.
        """
        earlier = islice(before, self.tally.rows, None)
        for line in self._lines:
            digest = row_digest(self._settings, line)
            written = next(earlier, None)
            if written is not None and "error" not in self._checked(written, line):
                yield Row(line, digest, result=written, is_kept=True)
            else:
                yield read_row(line, digest)
        for written in earlier:
            self._checked(written, None)

    def write(self, row: Row, outcomes: list[Outcome]) -> None:
        """Writes the result of a row."""
        line = row.result or result_line(row, outcomes)
        self._results.append(line)
        self.tally.add(orjson.loads(line), is_kept=row.is_kept)

    def _checked(self, written: bytes, line: Line | None) -> dict[str, object]:
        """The content of a result that was written for a row.

        Raises:
            FileError: It was written for another one.
        """
        if line is None:
            self._refuse(f"{self._source.path} has fewer rows than it has results")
        try:
            result = dict(as_mapping(orjson.loads(written)) or {})
        except orjson.JSONDecodeError:
            result = {}
        if "digest" not in result:
            self._refuse(f"its line {line.position + 1} is no result")
        known_by = result.get("row"), result["digest"]
        if known_by != (line.position, row_digest(self._settings, line)):
            self._refuse(
                f"row {line.position} of {self._source.path} is not the one that was scored"
            )
        return result

    def _refuse(self, reason: str) -> NoReturn:
        raise FileError(
            f"{self._results.path} cannot be gone on with: {reason}. Bring the input back as it "
            "was, or name another output."
        )


class _Watch:
    """Sees to it that all rewards of a run come from the same model in the same way."""

    def __init__(self, client: RewardClient) -> None:
        self.settings: Settings = client.settings()
        self._client = client
        self._known: list[Provenance] = []

    def check(self, provenance: Provenance) -> None:
        """Refuses a reward from another server than that of the settings.

        Args:
            provenance: The reward's; another object wherever another server was found.
        """
        if any(provenance is known for known in self._known):
            return
        now = self._client.settings().model_copy(update=dict(provenance))
        changed = difference(self.settings, now)
        if changed is not None:
            raise FileError(
                f"Another server has come up during the run: {changed}. What is written is of the "
                "one before. Serve that one again to go on, or name another output."
            )
        self._known.append(provenance)


def _scored(
    client: RewardClient, rows: Iterator[Row], check: Callable[[Provenance], None]
) -> Generator[tuple[Row, list[Outcome]]]:
    """Rows with the outcomes of their samples, in order."""
    line: deque[Row] = deque()
    ended = False

    def samples() -> Iterator[Sample]:
        nonlocal ended
        ready = 0
        for row in rows:
            line.append(row)
            yield from row.samples
            ready += not row.samples
            if ready >= _MOST_READY:
                return
        ended = True

    def next_ready() -> Iterator[tuple[Row, list[Outcome]]]:
        while line and not line[0].samples:
            yield line.popleft(), []

    while not ended:
        outcomes: list[Outcome] = []
        with client.stream(samples()) as results:
            for result in results:
                yield from next_ready()
                outcomes.append(_outcome(result, check))
                if len(outcomes) == len(line[0].samples):
                    yield line.popleft(), outcomes
                    outcomes = []
        yield from next_ready()


def _outcome(result: ScoreResult, check: Callable[[Provenance], None]) -> Outcome:
    if result.reward is not None:
        check(result.reward.provenance)
        return result.reward
    assert result.error is not None  # noqa: S101 - either is there
    if isinstance(result.error, ServerUnreachableError):
        raise result.error  # that is no failure of this row: all others would have it too
    return result.error


def _check_target(origin: Path, target: Path) -> None:
    """Refuses outputs that no server need be asked about."""
    is_empty(target)
    if target.exists() and origin.exists() and target.samefile(origin):
        raise FileError(f"{origin} is both the input and the output.")
    if target.suffix == ".gz":
        raise FileError(f"{target}: results are not compressed, since lines are appended to them.")


def _check_settings(target: Path, now: Settings) -> None:
    changed = difference(read_settings(target), now)
    if changed is not None:
        raise FileError(
            f"{target} cannot be gone on with: {changed}. Go back to what it was scored with, or "
            "name another output."
        )


def _bar(size: int | None, read: int) -> tqdm[NoReturn]:
    """A bar over the bytes of the input: its rows are not counted beforehand."""
    from tqdm.auto import tqdm

    time_left = "{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]"
    layout = time_left if size else "{desc} [{elapsed}]"
    return tqdm(total=size, initial=read, bar_format=layout)


def _show(bar: tqdm[NoReturn], read: int, tally: Tally) -> None:
    rate = tally.conversations / max(bar.format_dict["elapsed"], 1e-9)
    failed = f", {tally.failures.total():,} failed" if tally.failures else ""
    bar.set_description_str(f"{tally.rows:,} rows, {rate:,.0f} conv/s{failed}", refresh=False)
    bar.update(read - bar.n)
