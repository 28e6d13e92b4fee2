"""The command line `reward-client COMMAND`, with one module for each command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from reward_client.cli import demo, doctor, export, recipe, score, serve
from reward_client.cli._options import UsageError
from reward_client.cli._output import show
from reward_client.errors import RewardClientError

__all__ = ["main"]

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options) or 0
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of the output has ended early, like `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (RewardClientError, UsageError, ImportError) as error:
        show(f"reward-client: {error}", is_error=True)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reward-client", description="Get rewards from reward models served by vLLM."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (demo, doctor, export, recipe, score, serve):
        command.add_to(commands)
    return parser
