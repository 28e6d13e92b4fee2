"""`reward-client score`: score the rows of files."""

from __future__ import annotations

import argparse
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from reward_client import InputError, RetryPolicy, ServerUnreachableError
from reward_client._option_names import in_options
from reward_client._rows.forms import FORMS
from reward_client.cli._histogram import bars
from reward_client.cli._options import (
    Commands,
    OptionError,
    add_command,
    add_wait_option,
)
from reward_client.cli._output import (
    binary_stdout,
    show,
    show_error,
    shows_progress,
    text_encoding,
)
from reward_client.cli._pages import check_page, write_page
from reward_client.cli._scoring import (
    add_scoring_options,
    add_url_option,
    has_results_for,
    open_scoring_client,
    resume_hint,
)

if TYPE_CHECKING:
    from reward_client import RewardClient
    from reward_client.files import ScoreSummary


_SOME_FAILED = 3
_PIPE = "-"
_STDIN = "/dev/stdin"


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "score",
        summary="score the rows of files",
        description="Write the rows of files with their rewards. The same command resumes a run "
        "that was stopped. Exit status: 0 every row has its reward, 1 the run failed, 3 some rows "
        "failed, 130 interrupted.",
        examples=(
            "reward-client score in.jsonl out.jsonl --url http://localhost:8000",
            "reward-client score in.jsonl out.jsonl --url http://localhost:8000 --retry-failed",
            "reward-client score pairs.jsonl out.jsonl --url http://localhost:8000 --by subset",
            "reward-client score shards/ out.parquet --url http://localhost:8000",
            "cat in.jsonl | reward-client score - - --url http://localhost:8000 > rewards.jsonl",
        ),
    )
    parser.add_argument(
        "input",
        nargs="+",
        metavar="IN",
        help="rows with messages, prompt and response(s), chosen and rejected, and so on: JSON "
        "lines, a JSON array, CSV, Parquet, Arrow, a folder of such files or a data set of "
        "`datasets`; texts also compressed with gzip or zstd; - for stdin (JSON)",
    )
    parser.add_argument(
        "output",
        metavar="OUT",
        help="file to write or to resume: .parquet, .arrow, .csv, .tsv, .json, .jsonl.gz, "
        ".jsonl.zst, a folder of `datasets` (NAME/), else JSON lines; - for stdout, which cannot "
        "be resumed",
    )
    add_url_option(parser)
    parser.add_argument(
        "--form", choices=FORMS, help="the form of all rows; by default recognized by the columns"
    )
    parser.add_argument(
        "--columns",
        type=_columns,
        metavar="NAME,…",
        help="the only columns to read; FORM_NAME=NAME for a column of another name, such as "
        "prompt=question,response=answer",
    )
    add_scoring_options(parser)
    add_wait_option(parser)
    parser.add_argument("--retry-failed", action="store_true", help="score failed rows again")
    parser.add_argument(
        "--by",
        metavar="COLUMN",
        help="count the rows of each value of this column apart, such as those of each subset; "
        "with --ray on the page of --report",
    )
    parser.add_argument(
        "--report",
        metavar="PAGE",
        type=Path,
        help="write a page of HTML on the results afterwards, as `reward-client report` does",
    )
    parser.add_argument(
        "--ray",
        action="store_true",
        help="score on all machines of a Ray cluster (extra `ray`), that of RAY_ADDRESS or a local "
        "one; OUT is then a folder, with a Parquet file for each one of IN",
    )
    parser.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> int:
    if options.ray:
        return _score_by_ray(options)
    is_pipe = options.output == _PIPE
    if is_pipe and options.retry_failed:
        raise OptionError("Cannot retry rows: stdout keeps no results. Name a file as output.")
    if is_pipe and options.report is not None:
        raise OptionError(
            "Cannot write the page of --report: stdout keeps no results. Name a file as output."
        )
    if options.report is not None:
        check_page(Path(options.output), options.report)
    with open_scoring_client(options) as client:
        try:
            summary = _scored_into_stdout(client, options) if is_pipe else _scored(client, options)
        except InputError as error:
            raise OptionError(error) from error
    _show_summary(summary, options, is_error=is_pipe)
    if summary.can_retry and not options.retry_failed and not is_pipe:
        show("Add --retry-failed to score rows again that failed by a fault of the server.")
    if options.report is not None and summary.rows:
        write_page(Path(options.output), options.report, options.by)
    return _SOME_FAILED if summary.failed else 0


def _score_by_ray(options: argparse.Namespace) -> int:
    if _PIPE in (*options.input, options.output):
        raise OptionError("Cannot use a pipe with --ray: machines share files. Name files.")
    if options.by is not None and options.report is None:
        raise OptionError(
            "Cannot count by a column with --ray: each machine counts its own rows. Add --report, "
            "whose page counts those of all."
        )
    if options.report is not None:
        check_page(Path(options.output), options.report)
        _check_column(options)
    from reward_client._integrations.environment import PATIENCE
    from reward_client._integrations.shards import has_results
    from reward_client.integrations.ray import score_files

    with (
        open_scoring_client(options, retry=RetryPolicy(budget=PATIENCE)) as client,
        resume_hint(lambda: has_results(Path(options.output))),
    ):
        try:
            summary = score_files(
                client,
                options.input,
                options.output,
                form=options.form,
                columns=options.columns,
                retry_failed=options.retry_failed,
            )
        except InputError as error:
            raise OptionError(error) from error
    show(in_options(summary, vars(options)))
    if summary.can_retry and not options.retry_failed:
        show("Add --retry-failed to score rows again that failed by a fault of the server.")
    if options.report is not None:
        write_page(Path(options.output), options.report, options.by)
    return _SOME_FAILED if summary.failed else 0


def _check_column(options: argparse.Namespace) -> None:
    """Refuse a column that the rows lack, before a long run.

    Raises:
        OptionError: If none of the first rows has the column of ``--by``.
    """
    from reward_client.files.groups import with_column
    from reward_client.files.inputs.source import Source

    with Source(*map(Path, options.input)) as rows:
        try:
            next(with_column(rows.lines(), options.by), None)
        except InputError as error:
            raise OptionError(error) from error


def _show_summary(summary: ScoreSummary, options: argparse.Namespace, *, is_error: bool) -> None:
    show(in_options(summary, vars(options)), is_error=is_error)
    if summary.histogram:
        encoding = text_encoding(is_error=is_error)
        lines = bars(summary.histogram, get_terminal_size().columns, encoding)
        show("\n".join(["histogram of the rewards:", *lines]), is_error=is_error)


def _scored(client: RewardClient, options: argparse.Namespace) -> ScoreSummary:
    from reward_client.files import score_file

    with resume_hint(lambda: has_results_for(options.output)):
        return score_file(
            client,
            _sources(options),
            options.output,
            form=options.form,
            columns=options.columns,
            retry_failed=options.retry_failed,
            progress=shows_progress(),
            by=options.by,
        )


def _scored_into_stdout(client: RewardClient, options: argparse.Namespace) -> ScoreSummary:
    from reward_client.files.results import Stream
    from reward_client.files.runner import score_stream

    stream = binary_stdout()
    results = Stream(stream)
    try:
        return score_stream(
            client,
            _sources(options),
            results,
            form=options.form,
            columns=options.columns,
            # On one terminal, a bar would break the lines of results.
            progress=shows_progress() and not stream.isatty(),
            by=options.by,
        )
    except (KeyboardInterrupt, ServerUnreachableError):
        if results.has_begun:
            show_error("stopped; stdout cannot be resumed.")
        raise


def _sources(options: argparse.Namespace) -> list[str]:
    return [_STDIN if path == _PIPE else path for path in options.input]


def _columns(text: str) -> dict[str, str]:
    """Parse the columns of ``--columns``: the name of each by the name that a form has for it."""
    columns: dict[str, str] = {}
    for part in text.split(","):
        known, equals, name = part.partition("=")
        if not known or (equals and not name) or known in columns:
            raise argparse.ArgumentTypeError(
                "must be names with commas between them, such as prompt=question,answer, each once"
            )
        columns[known] = name or known
    return columns
