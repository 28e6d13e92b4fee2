"""`reward-client report`: write a page on a scored file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reward_client.cli._options import Commands, add_command
from reward_client.cli._pages import write_page

if TYPE_CHECKING:
    import argparse


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "report",
        summary="write a page of HTML on a scored file",
        description="Write one page of HTML on the output of `reward-client score`: accuracy, "
        "distribution, length, calibration, failures and settings. The page needs no network.",
        examples=(
            "reward-client report scored.jsonl",
            "reward-client report scored.jsonl rewards.html --by subset --title 'Our model'",
        ),
    )
    parser.add_argument("scored", metavar="SCORED", type=Path, help="output of the command score")
    parser.add_argument(
        "output",
        metavar="OUT",
        nargs="?",
        type=Path,
        help="page to write or to renew; by default SCORED with .html at its end",
    )
    parser.add_argument(
        "--by", metavar="COLUMN", help="column whose values are shown apart, such as subset"
    )
    parser.add_argument("--title", help="heading of the page")
    parser.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> None:
    scored: Path = options.scored
    page = options.output or scored.with_name(f"{scored.name}.html")
    write_page(scored, page, options.by, options.title)
