"""What the commands share."""

from __future__ import annotations

import argparse
from typing import Protocol

from reward_client._base.options import API_KEY_VARIABLE


class Commands(Protocol):
    """What argparse's `add_subparsers` returns, which has no public name."""

    def add_parser(
        self,
        name: str,
        *,
        help: str,  # noqa: A002 - argparse's own name
        description: str,
    ) -> argparse.ArgumentParser:
        """A parser for a command."""
        ...


class UsageError(Exception):
    """Something about the command that its user can mend."""


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say which model of a server is meant, and with which key."""
    parser.add_argument("--model", help="the model's name on the server, if it serves several")
    parser.add_argument(
        "--api-key",
        help=f"the server's key; better kept in the environment, as {API_KEY_VARIABLE}",
    )


def add_recipe_option(
    parser: argparse.ArgumentParser, known_by: str = "the server's model root"
) -> None:
    """Adds the option that says which model it is.

    Args:
        parser: The command's.
        known_by: By what a recipe is looked up where none is named.
    """
    parser.add_argument(
        "--recipe",
        default="auto",
        metavar="NAME",
        help="the model, as `reward-client recipe` lists it, or a file: TOML, or the manifest of "
        f"an exported checkpoint (reward_client.json); by default looked up by {known_by}; "
        '"none" for none',
    )


def chosen_recipe(options: argparse.Namespace) -> str | None:
    """What the option says, as clients take it."""
    return None if options.recipe == "none" else options.recipe
