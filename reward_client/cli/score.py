"""`reward-client score`: a file of JSON lines scored into another one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reward_client import RewardClient, ServerUnreachableError
from reward_client._base.options import BASE_URL_VARIABLE
from reward_client.cli._options import (
    Commands,
    add_recipe_option,
    add_server_options,
    chosen_recipe,
)

if TYPE_CHECKING:
    import argparse


_SOME_FAILED = 3


def add_to(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "score",
        help="score a file of JSON lines",
        description="Writes a line with the reward for each row of a file of JSON lines. A run "
        "that was stopped, in whatever way, goes on where it was. Exit status: 0 every row has its "
        "reward, 1 it could not be done, 3 some rows failed, 130 interrupted.",
    )
    parser.add_argument(
        "input",
        metavar="IN",
        help="rows with messages, text, token_ids, prompt and responses, or chosen and rejected; "
        "plain or compressed by gzip",
    )
    parser.add_argument("output", metavar="OUT", help="the file to write, or to go on with")
    parser.add_argument(
        "--url", help=f"where the server is; by default the environment's {BASE_URL_VARIABLE}"
    )
    add_server_options(parser)
    add_recipe_option(parser)
    parser.add_argument(
        "--tokenizer",
        default="server",
        help='who makes the token IDs: "server" (default), "local" or "auto" (extra `local`), or a '
        "tokenizer's folder or hub name",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="score the rows again that failed"
    )
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
        try:
            summary = score_file(
                client,
                options.input,
                options.output,
                retry_failed=options.retry_failed,
                progress=sys.stderr.isatty(),
            )
        except (KeyboardInterrupt, ServerUnreachableError):
            print("reward-client: stopped; the same command goes on where it was.", file=sys.stderr)
            raise
    print(summary)
    if summary.failed and not options.retry_failed:
        print("--retry-failed scores the failed rows again.")
    return _SOME_FAILED if summary.failed else 0
