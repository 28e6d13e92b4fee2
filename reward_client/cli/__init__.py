"""The command line `reward-client COMMAND`, with one module for each command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from reward_client import __version__
from reward_client.cli import demo, doctor, export, recipe, score, serve
from reward_client.cli._options import UsageError
from reward_client.cli._output import show, show_error
from reward_client.errors import RewardClientError

__all__ = ["main"]

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    try:
        options = _parser().parse_args(arguments)
        status: int = options.run(options) or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of the output has ended early, like `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (RewardClientError, UsageError, ImportError) as error:
        show_error(error)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reward-client", description="Get rewards from reward models served by vLLM."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    parser.add_argument(
        "--completion",
        action=_PrintCompletion,
        choices=["bash", "zsh", "tcsh"],
        help="print a script that completes the commands and options of this program in a shell "
        "(extra `completion`)",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (demo, doctor, export, recipe, score, serve):
        command.add_to(commands)
    return parser


class _PrintCompletion(argparse.Action):
    """Prints the script of a shell and ends the program."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        try:
            import shtab
        except ImportError as error:
            raise UsageError(
                "Cannot make the script of a shell: shtab is missing. Install "
                "reward-client[completion]."
            ) from error
        show(shtab.complete(parser, values))
        parser.exit()
