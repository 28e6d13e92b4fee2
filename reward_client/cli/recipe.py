"""`reward-client recipe`: print the recipe of a reward model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from reward_client import RewardClientError
from reward_client.cli._options import Commands, OptionError, add_command
from reward_client.cli._output import show

if TYPE_CHECKING:
    import argparse


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "recipe",
        summary="print the recipe of a reward model",
        description="Print how to serve a reward model, how its reward is read, and reference "
        "values to check it. Without a name, list all known models; with a part of a name, those "
        "that it fits.",
        examples=(
            "reward-client recipe",
            "reward-client recipe skywork",
            "reward-client recipe Qwen/Qwen2.5-Math-PRM-7B",
        ),
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="a Hugging Face ID or a part of it, a folder with the model's name, a family, or a "
        "file: TOML, or the manifest of an exported checkpoint (reward_client.json)",
    )
    parser.set_defaults(run=_recipe)


def _recipe(options: argparse.Namespace) -> None:
    from reward_client.recipes import catalogue, find_recipe, named_recipe
    from reward_client.recipes.formatting import describe
    from reward_client.recipes.model_names import model_key

    name = options.name or ""
    known = catalogue().get(name.casefold()) or find_recipe(name)
    parts = [model_key(word) for word in name.split()]
    fitting = [line for line in _listed() if all(part in model_key(line) for part in parts)]
    if known is None and fitting and all(parts):
        show("\n".join(fitting))
    else:
        try:
            recipe = known or named_recipe(name)
        except RewardClientError as error:
            raise OptionError(error) from error
        show(describe(recipe))


def _listed() -> Iterator[str]:
    """Iterate over lines with all known models."""
    from reward_client.recipes import catalogue
    from reward_client.recipes.formatting import summary

    for family in catalogue().values():
        for model in family.models:
            yield f"{model}  ({family.name}: {summary(family)})"
