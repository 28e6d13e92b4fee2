"""`reward-client zero-bias`: copy a classifier so that SGLang adds nothing to its rewards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reward_client.cli._options import Commands, add_command, add_link_option
from reward_client.cli._output import show, shows_progress

if TYPE_CHECKING:
    import argparse


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "zero-bias",
        summary="copy a Qwen classifier so that SGLang adds nothing to its rewards",
        description="SGLang adds a random constant to every reward of a Qwen2 or Qwen3 "
        "classifier: the bias of a head whose checkpoint has none. Write a copy of the checkpoint "
        "with a bias of zeros. The weights are linked, or copied unchanged.",
        examples=(
            "reward-client zero-bias ./my-qwen ./fixed/my-qwen",
            "reward-client zero-bias ./my-qwen ./fixed/my-qwen --link copy --force",
        ),
    )
    parser.add_argument("source", metavar="SOURCE", help="folder of the checkpoint")
    parser.add_argument(
        "destination",
        metavar="DESTINATION",
        help="folder to write; with the model's name at its end, clients find its recipe",
    )
    add_link_option(parser)
    parser.add_argument("--force", action="store_true", help="replace an earlier copy")
    parser.set_defaults(run=_zero_bias)


def _zero_bias(options: argparse.Namespace) -> None:
    from reward_client.export import add_zero_bias

    show(
        add_zero_bias(
            options.source,
            options.destination,
            link=options.link,
            force=options.force,
            progress=shows_progress(),
        )
    )
