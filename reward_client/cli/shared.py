"""What the commands share."""

from __future__ import annotations

import argparse
from typing import TypeAlias

from reward_client.options import API_KEY_VARIABLE

__all__ = ["Commands", "UsageError", "add_server_options"]

# argparse has no public name for what add_subparsers returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001


class UsageError(Exception):
    """Something about the command that its user can mend."""


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which model of a server is meant, and with which key."""
    parser.add_argument("--model", help="the model's name on the server, if it serves several")
    parser.add_argument(
        "--api-key",
        help=f"the server's key; better kept in the environment, as {API_KEY_VARIABLE}",
    )
