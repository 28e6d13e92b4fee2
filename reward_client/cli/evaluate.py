"""`reward-client evaluate`: the score of a model on a published benchmark."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from reward_client.cli._options import (
    Commands,
    OptionError,
    add_command,
    add_wait_option,
    number,
)
from reward_client.cli._output import show, shows_progress
from reward_client.cli._pages import check_page
from reward_client.cli._scoring import (
    add_scoring_options,
    add_url_option,
    has_results_for,
    open_scoring_client,
    resume_hint,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reward_client.evaluation import Evaluation

_SOME_FAILED = 3
_LARGEST = 10**9


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "evaluate",
        summary="score a model on a published benchmark",
        description="Score the file of a benchmark, and print its table. The same command resumes "
        "a run that was stopped. A file that is scored already needs no server. Exit status: 0 "
        "every row has its reward, 1 no score could be computed, 3 failed rows counted as wrong, "
        "130 interrupted.",
        examples=(
            "reward-client evaluate --list",
            "reward-client evaluate rewardbench rewardbench.jsonl --url http://localhost:8000",
            "reward-client evaluate rewardbench rewards.jsonl --json",
            "reward-client evaluate rewardbench rewards.jsonl --against rewards.jsonl",
        ),
    )
    parser.add_argument("name", metavar="NAME", nargs="?", help="the benchmark; see --list")
    parser.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="the benchmark's file, as it was downloaded or scored",
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks, and end")
    parser.add_argument(
        "--out",
        metavar="SCORED",
        help="file for the scored rows, to write or to resume; by default beside FILE, with a name "
        "that ends with .scored.jsonl",
    )
    add_url_option(parser)
    add_scoring_options(parser)
    add_wait_option(parser)
    parser.add_argument(
        "--against",
        metavar="SCORED",
        help="scored rows of another model, to compare with (paired bootstrap)",
    )
    parser.add_argument(
        "--against-url", metavar="URL", help="server of another model, to compare with"
    )
    parser.add_argument(
        "--against-model",
        metavar="MODEL",
        help="name of another model to compare with, on the same server or on --against-url",
    )
    parser.add_argument(
        "--threshold",
        type=number(float, -_LARGEST, _LARGEST),
        metavar="NUMBER",
        help="reward up to which a step is wrong (default: that of the benchmark)",
    )
    parser.add_argument(
        "--allow-failed", action="store_true", help="count failed rows as wrong, and say so"
    )
    parser.add_argument("--retry-failed", action="store_true", help="score failed rows again")
    parser.add_argument("--json", action="store_true", help="print JSON, with all digits")
    parser.add_argument(
        "--report",
        metavar="PAGE",
        help="write a page of HTML on the scored rows afterwards, with the table",
    )
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    if options.list:
        _show_list()
        return 0
    from reward_client.evaluation import ModelComparison, compare
    from reward_client.evaluation.page import comparison_section, evaluation_section
    from reward_client.report.writer import write_with_sections

    _check(options)
    scored = _scored_path(options)
    if options.report is not None:
        check_page(scored, Path(options.report))
    evaluation = _evaluation(options)
    other = _other(options)
    shown = evaluation if other is None else compare(evaluation, other)
    show(shown.to_json() if options.json else shown)
    if options.report is not None:
        sections = [evaluation_section(evaluation)]
        if isinstance(shown, ModelComparison):
            sections.append(comparison_section(shown))
        write_with_sections(scored, options.report, sections, by=None, title=None)
        show(f"wrote {options.report}", is_error=options.json)
    return _SOME_FAILED if evaluation.failed or (other and other.failed) else 0


def _check(options: argparse.Namespace) -> None:
    if options.name is None or options.file is None:
        raise OptionError(
            "Name a benchmark and its file. `reward-client evaluate --list` lists the benchmarks."
        )
    has_server = options.against_url is not None or options.against_model is not None
    if options.against is not None and has_server:
        raise OptionError(
            "Cannot compare with two others: give --against, or --against-url and --against-model."
        )


def _show_list() -> None:
    from reward_client.evaluation import BENCHMARKS

    for benchmark in BENCHMARKS.values():
        show(f"{benchmark.name}: {benchmark.title} ({benchmark.paper})")
        show(f"  file: {benchmark.home}")
        show(f"  columns: {benchmark.needs}")
        show(f"  score: {benchmark.rule}")


def _scored_path(options: argparse.Namespace) -> Path:
    """Return the path of the first model's rewards."""
    from reward_client.evaluation.runner import is_scored, scored_path

    if is_scored(options.file):
        return Path(options.file)
    return scored_path(options.file) if options.out is None else Path(options.out)


def _evaluation(options: argparse.Namespace) -> Evaluation:
    """Evaluate the first model, from its server or from its rewards."""
    from reward_client.evaluation.runner import is_scored

    if not is_scored(options.file):
        return _from_server(options, options.url, options.model, options.out)
    given = (options.url, options.out, options.against_url, options.against_model)
    if any(option is not None for option in given):
        raise OptionError(
            f"Cannot score {options.file}: its rows have rewards already. Omit the options of "
            "servers and --out, or give the file without rewards."
        )
    return _from_rewards(options, options.file)


def _other(options: argparse.Namespace) -> Evaluation | None:
    """Evaluate the second model; None if there is none."""
    if options.against is not None:
        return _from_rewards(options, options.against)
    if options.against_url is None and options.against_model is None:
        return None
    first = _scored_path(options)
    return _from_server(
        options,
        options.url if options.against_url is None else [options.against_url],
        options.model if options.against_model is None else options.against_model,
        first.with_name(f"{first.name.removesuffix('.jsonl')}.against.jsonl"),
    )


def _from_rewards(options: argparse.Namespace, path: str) -> Evaluation:
    from reward_client.evaluation import evaluate_scored

    return evaluate_scored(
        options.name, path, threshold=options.threshold, allow_failed=options.allow_failed
    )


def _from_server(
    options: argparse.Namespace,
    url: Sequence[str] | None,
    model: str | None,
    out: str | Path | None,
) -> Evaluation:
    from reward_client.evaluation import evaluate
    from reward_client.evaluation.runner import scored_path

    chosen = argparse.Namespace(**{**vars(options), "url": url, "model": model})
    scored = scored_path(options.file) if out is None else out
    with open_scoring_client(chosen) as client, resume_hint(lambda: has_results_for(scored)):
        return evaluate(
            options.name,
            options.file,
            client,
            scored=scored,
            threshold=options.threshold,
            allow_failed=options.allow_failed,
            retry_failed=options.retry_failed,
            progress=shows_progress(),
        )
