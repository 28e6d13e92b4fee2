"""`reward-client recipe`: what is known of a reward model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reward_client.cli._options import Commands

if TYPE_CHECKING:
    import argparse


def add_to(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "recipe",
        help="what is known of a reward model",
        description="Prints how a reward model is served, how its reward is read, and values to "
        "check it by. Without a name it lists the models that it knows.",
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a Hugging Face ID, a folder called like the model, a family, or a file: TOML, or the "
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
                print(f"{model}  ({family.name}: {summary(family)})")
        return
    print(describe(families.get(options.name.lower()) or named_recipe(options.name)))
