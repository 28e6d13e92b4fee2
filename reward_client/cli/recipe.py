"""`reward-client recipe`: print the recipe of a reward model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reward_client.cli._options import Commands
from reward_client.cli._output import show

if TYPE_CHECKING:
    import argparse


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "recipe",
        help="print the recipe of a reward model",
        description="Print how to serve a reward model, how its reward is read, and reference "
        "values to check it. Without a name, list all known models.",
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a Hugging Face ID, a folder with the model's name, a family, or a file: TOML, or the "
        "manifest of an exported checkpoint (reward_client.json)",
    )
    parser.set_defaults(run=_recipe)


def _recipe(options: argparse.Namespace) -> None:
    from reward_client.recipes import catalogue, named_recipe
    from reward_client.recipes.formatting import describe, summary

    families = catalogue()
    if options.name is None:
        for family in families.values():
            for model in family.models:
                show(f"{model}  ({family.name}: {summary(family)})")
        return
    show(describe(families.get(options.name.lower()) or named_recipe(options.name)))
