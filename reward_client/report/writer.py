"""Read a scored file once, and write the report on it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from os import PathLike
from pathlib import Path

from reward_client._base.atomic_file import write_atomically
from reward_client._base.wording import describe_type
from reward_client._pages.page import GENERATOR, render
from reward_client._pages.sections import Section
from reward_client._version import __version__
from reward_client.errors import FileError, InputError
from reward_client.files.groups import check_by
from reward_client.files.inputs.source import Source
from reward_client.files.results import file_errors, is_empty, real_path
from reward_client.files.tally import Tally
from reward_client.report.calibration import Calibration
from reward_client.report.extremes import Extremes
from reward_client.report.failures import failures
from reward_client.report.length import Lengths
from reward_client.report.overview import Truncated, overview
from reward_client.report.provenance import find_settings, provenance
from reward_client.report.reading import ScoredFile
from reward_client.report.rewards import Objectives, distribution
from reward_client.report.subsets import Subsets

_FIRST_ROWS = 100
_HEAD_BYTES = 1024


def write_report(
    source: str | PathLike[str],
    destination: str | PathLike[str],
    *,
    by: str | None = None,
    title: str | None = None,
) -> None:
    """Write a report on a scored file: one page of HTML, without scripts and without a network.

    The file is read once, and memory does not grow with it.

    Args:
        source: The scored file, as `reward_client.files.score_file` writes it.
        destination: The page. A file that exists is replaced if it is a report.
        by: The name of a column. The page shows the rows of each of its values apart. None for the
            first usual column, such as ``subset`` or ``category``, that has 2 to 50 values.
        title: The heading of the page; None for one with the name of the file.

    Raises:
        InputError: If an argument is invalid, or if none of the first 100 rows has the column.
        FileError: If a file cannot be read or written, if the source is empty or not a scored file,
            or if the destination exists and is not a report.
    """
    write_with_sections(source, destination, (), by=by, title=title)


def write_with_sections(
    source: str | PathLike[str],
    destination: str | PathLike[str],
    further: Sequence[Section],
    *,
    by: str | None,
    title: str | None,
) -> None:
    """Write a report with further sections, which stand below its overview.

    Args:
        source: As for `write_report`.
        destination: As for `write_report`.
        further: The sections.
        by: As for `write_report`.
        title: As for `write_report`.
    """
    _check_arguments(source, destination, title)
    check_by(by)
    origin = Path(source)
    with Source(origin) as opened:
        target = check_destination(origin, Path(destination))
        sections = _sections(origin, ScoredFile(opened, by), by)
    now = datetime.now(UTC)
    page = render(
        title or f"Rewards of {origin.name}",
        [f"Report on {origin.name}, made {now:%Y-%m-%d %H:%M} UTC"],
        [*sections[:1], *further, *sections[1:]],
        f"Written by reward-client {__version__}, {now:%Y-%m-%d %H:%M} UTC.",
    )
    with file_errors(target):
        write_atomically(target, page.encode())


def _sections(origin: Path, file: ScoredFile, by: str | None) -> list[Section]:
    rows = iter(file)
    first = list(islice(rows, _FIRST_ROWS))
    tally, truncated, objectives = Tally(), Truncated(), Objectives()
    subsets, lengths = Subsets(by, first), Lengths()
    calibration, extremes = Calibration(), Extremes()
    takers = (truncated, objectives, subsets, lengths, calibration)
    for position, row in enumerate(chain(first, rows)):
        tally.add(row, is_kept=True)
        for taker in takers:
            taker.add(row)
        extremes.add(row, position)
    summary = tally.summary(0.0)
    settings, reason = find_settings(origin)
    found = (
        overview(summary, tally.rewards.count, objectives, truncated, is_torn=file.is_torn),
        distribution(tally.rewards, tally.sides, objectives),
        subsets.section(summary.pairs),
        lengths.section(),
        calibration.section(settings),
        extremes.section(),
        failures(summary),
        provenance(settings, reason),
    )
    return [section for section in found if section is not None]


def _check_arguments(source: object, destination: object, title: object) -> None:
    for path in (source, destination):
        if not isinstance(path, str | PathLike):
            raise InputError(
                f"write_report() reads one file and writes another: {describe_type(path)} is no "
                "path."
            )
    if title is not None and not isinstance(title, str):
        raise InputError(f"title= must be a str, not {describe_type(title)}.")


def check_destination(origin: Path, destination: Path) -> Path:
    """Return the real path of a page, unless it would replace something else than a report.

    Args:
        origin: The scored file, which need not exist yet.
        destination: The page.

    Raises:
        FileError: If it would, or if no page can be written there.
    """
    target = real_path(destination)
    empty = is_empty(target)
    with file_errors(destination):
        if target == real_path(origin) or (
            target.exists() and origin.exists() and target.samefile(origin)
        ):
            raise FileError(f"Cannot use {origin} as both input and output. Choose another output.")
        if empty:
            return target
        with target.open("rb") as file:
            is_ours = GENERATOR.encode() in file.read(_HEAD_BYTES)
    if not is_ours:
        raise FileError(
            f"Cannot write {destination}: it exists, and is no report of this program. Choose "
            "another output."
        )
    return target
