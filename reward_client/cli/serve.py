"""`reward-client serve`: run a small reward server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reward_client.cli._options import Commands, UsageError, add_command, add_port_option

if TYPE_CHECKING:
    import argparse


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "serve",
        summary="run a small reward server until Ctrl-C",
        description="Serve a small reward model that grades sums, with the API of vLLM.",
        examples=(
            "reward-client serve",
            "reward-client serve --port 8000 --dialect 0.8 --head steps",
        ),
    )
    parser.add_argument(
        "--dialect",
        choices=["0.8", "0.10", "0.12", "0.16", "0.20", "0.25", "0.32", "0.33"],
        default="0.32",
        help="vLLM version",
    )
    parser.add_argument(
        "--head",
        choices=["sequence", "token", "labels", "steps", "embed", "export", "export-steps"],
        default="sequence",
        help="one value per conversation, one per token, five labels, two values per step, hidden "
        "states, the reward as an embedding, or two values per token as an embedding",
    )
    add_port_option(parser)
    parser.add_argument("--raw", action="store_true", help="return values without an activation")
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    from reward_client.testing import serve

    try:
        serve(dialect=options.dialect, head=options.head, raw=options.raw, port=options.port)
    except OSError as error:
        raise UsageError(
            f"Cannot listen on port {options.port}: {error.strerror}. Choose another --port."
        ) from error
