"""`reward-client evaluate`: the score of a model on a published benchmark."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from reward_client._base.options import BASE_URL_VARIABLE
from reward_client.cli._options import (
    Commands,
    OptionError,
    add_command,
    add_recipe_option,
    add_sample_options,
    add_server_options,
    add_wait_option,
    number,
    open_client,
)
from reward_client.cli._output import show, shows_progress

if TYPE_CHECKING:
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
    parser.add_argument(
        "--url", help=f"URL of the server; by default the environment variable {BASE_URL_VARIABLE}"
    )
    add_server_options(parser)
    add_wait_option(parser)
    add_recipe_option(parser)
    add_sample_options(parser)
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
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    if options.list:
        _show_list()
        return 0
    if options.name is None or options.file is None:
        raise OptionError(
            "Name a benchmark and its file. `reward-client evaluate --list` lists them."
        )
    evaluation = _evaluation(options)
    show(evaluation.to_json() if options.json else evaluation)
    return _SOME_FAILED if evaluation.failed else 0


def _show_list() -> None:
    from reward_client.evaluation import BENCHMARKS

    for benchmark in BENCHMARKS.values():
        show(f"{benchmark.name}: {benchmark.title} ({benchmark.paper})")
        show(f"  columns: {benchmark.needs}")
        show(f"  score: {benchmark.rule}")


def _evaluation(options: argparse.Namespace) -> Evaluation:
    from reward_client.evaluation import evaluate, evaluate_scored
    from reward_client.evaluation.runner import is_scored

    if is_scored(options.file):
        if options.url is not None or options.out is not None:
            raise OptionError(
                f"Cannot score {options.file}: its rows have rewards already. Omit --url and --out."
            )
        return evaluate_scored(
            options.name,
            options.file,
            threshold=options.threshold,
            allow_failed=options.allow_failed,
        )
    with open_client(options.url, options) as client:
        if options.wait > 0:
            client.wait_until_ready(timeout=options.wait)
        return evaluate(
            options.name,
            options.file,
            client,
            scored=options.out,
            threshold=options.threshold,
            allow_failed=options.allow_failed,
            retry_failed=options.retry_failed,
            progress=shows_progress(),
        )
