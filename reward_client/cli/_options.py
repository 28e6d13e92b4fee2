"""Options that several commands share."""

from __future__ import annotations

import argparse
from typing import Protocol

from reward_client._base.options import API_KEY_VARIABLE


class Commands(Protocol):
    """The return type of argparse's `add_subparsers`, which has no public name."""

    def add_parser(
        self,
        name: str,
        *,
        help: str,  # noqa: A002 - argparse's own name
        description: str,
    ) -> argparse.ArgumentParser:
        """Add the parser of a command."""
        ...


class UsageError(Exception):
    """The command line or an input file is invalid."""


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the server's model and API key."""
    parser.add_argument("--model", help="name of the model on the server, if it serves several")
    parser.add_argument(
        "--api-key",
        help=f"API key of the server; the environment variable {API_KEY_VARIABLE} is safer",
    )


def add_wait_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that waits for a server that is starting."""
    parser.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="longest wait in seconds for a server that is starting (default: none)",
    )


def add_recipe_option(
    parser: argparse.ArgumentParser, lookup_key: str = "the server's model root"
) -> None:
    """Add the option for the recipe.

    Args:
        parser: Parser of the command.
        lookup_key: Description of the key that finds a recipe if none is named.
    """
    parser.add_argument(
        "--recipe",
        default="auto",
        metavar="NAME",
        help="name of a model in the list of `reward-client recipe`, or a file: TOML, or the "
        "manifest of an exported checkpoint (reward_client.json); by default found by "
        f'{lookup_key}; "none" for no recipe',
    )


def chosen_recipe(options: argparse.Namespace) -> str | None:
    """Return the value of ``--recipe`` for a client's ``recipe=``."""
    return None if options.recipe == "none" else options.recipe
