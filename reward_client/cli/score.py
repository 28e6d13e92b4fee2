"""`reward-client score`: score a file of JSON lines."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reward_client import RewardClient, ServerUnreachableError
from reward_client._base.options import BASE_URL_VARIABLE
from reward_client.cli._options import (
    Commands,
    add_recipe_option,
    add_server_options,
    add_wait_option,
    chosen_recipe,
)
from reward_client.cli._output import show

if TYPE_CHECKING:
    import argparse


_SOME_FAILED = 3


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "score",
        help="score a file of JSON lines",
        description="Write a line with the reward for each row of a file of JSON lines. The same "
        "command resumes a run that was stopped. Exit status: 0 every row has its reward, 1 the "
        "run failed, 3 some rows failed, 130 interrupted.",
    )
    parser.add_argument(
        "input",
        metavar="IN",
        help="rows with messages, text, token_ids, prompt and responses, or chosen and rejected; "
        "plain or compressed with gzip",
    )
    parser.add_argument("output", metavar="OUT", help="file to write or to resume")
    parser.add_argument(
        "--url", help=f"URL of the server; by default the environment variable {BASE_URL_VARIABLE}"
    )
    add_server_options(parser)
    add_wait_option(parser)
    add_recipe_option(parser)
    parser.add_argument(
        "--tokenizer",
        default="server",
        help='the tokenizer: "server" (default), "local" or "auto" (extra `local`), or the folder '
        "or hub name of a tokenizer",
    )
    parser.add_argument("--retry-failed", action="store_true", help="score failed rows again")
    parser.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> int:
    from reward_client.files import score_file

    with RewardClient(
        options.url,
        model=options.model,
        api_key=options.api_key,
        recipe=chosen_recipe(options),
        tokenizer=options.tokenizer,
    ) as client:
        if options.wait > 0:
            client.wait_until_ready(timeout=options.wait)
        try:
            summary = score_file(
                client,
                options.input,
                options.output,
                retry_failed=options.retry_failed,
                progress=sys.stderr.isatty(),
            )
        except (KeyboardInterrupt, ServerUnreachableError):
            show("reward-client: stopped; run the same command to resume.", is_error=True)
            raise
    show(summary)
    if summary.failed and not options.retry_failed:
        show("Add --retry-failed to score the failed rows again.")
    return _SOME_FAILED if summary.failed else 0
