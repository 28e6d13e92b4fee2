"""The command line: `reward-client COMMAND`, one module for each command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from reward_client.cli import demo, doctor, recipe, serve
from reward_client.cli.shared import UsageError
from reward_client.errors import RewardClientError

__all__ = ["main"]

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (RewardClientError, UsageError, ImportError) as error:
        print(f"reward-client: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reward-client", description="Rewards from reward models served by vLLM."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (demo, doctor, recipe, serve):
        command.add_to(commands)
    return parser
