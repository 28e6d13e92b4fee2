"""The page that a command writes on a scored file."""

from __future__ import annotations

from pathlib import Path

from reward_client import InputError
from reward_client.cli._options import OptionError
from reward_client.cli._output import show


def check_page(scored: Path, page: Path) -> None:
    """Refuse a page that could not be written after a long run.

    Raises:
        FileError: If the page would replace something else than a report.
    """
    from reward_client.report.writer import check_destination

    check_destination(scored, page)


def write_page(scored: Path, page: Path, by: str | None, title: str | None = None) -> None:
    """Write the report on a scored file, and say so.

    Raises:
        FileError: As `write_report`.
        OptionError: If no row has the column.
    """
    from reward_client.report import write_report

    try:
        write_report(scored, page, by=by, title=title)
    except InputError as error:
        raise OptionError(error) from error
    show(f"wrote {page}")
