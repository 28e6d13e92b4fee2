"""The command line `reward-client COMMAND`, with one module for each command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from reward_client import __version__
from reward_client._option_names import in_options
from reward_client.cli import (
    demo,
    doctor,
    evaluate,
    export,
    gateway,
    recipe,
    report,
    score,
    serve,
    zero_bias,
)
from reward_client.cli._options import OptionError, UsageError
from reward_client.cli._output import flush_all, show, show_error, write
from reward_client.errors import RewardClientError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

__all__ = ["main"]

_FAILED = 1
_INVALID = 2
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = argparse.Namespace(failure=_FAILED)
    try:
        options = _parser().parse_args(arguments, options)
        status: int = options.run(options) or 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OptionError as error:
        show_error(in_options(error, vars(options)))
        return _INVALID
    except (RewardClientError, UsageError, ImportError) as error:
        show_error(in_options(error, vars(options)))
        failure: int = options.failure
        return failure
    finally:
        flush_all()
    return status


class _Parser(argparse.ArgumentParser):
    """A parser that says so if stdout takes no help and no version."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        if file is None or file is not sys.stdout:
            super()._print_message(message, file)
            return
        write(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="reward-client", description="Get rewards from reward models served by vLLM or SGLang."
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
    for command in (
        *(demo, doctor, evaluate, export, gateway, recipe, report, score, serve),
        zero_bias,
    ):
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
