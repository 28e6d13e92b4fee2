"""`reward-client serve`: the small reward server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reward_client.cli._options import Commands, UsageError

if TYPE_CHECKING:
    import argparse


def add_to(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "serve",
        help="run the small reward server, until Ctrl-C",
        description="Serves a small reward model, which judges sums, as a vLLM would.",
    )
    parser.add_argument(
        "--dialect",
        choices=["0.8", "0.10", "0.12", "0.16", "0.20", "0.25", "0.32"],
        default="0.32",
        help="vLLM version",
    )
    parser.add_argument(
        "--head",
        choices=["sequence", "token", "labels", "steps", "embed", "export", "export-steps"],
        default="sequence",
        help="one value per conversation, one per token, five labels, two values per step, hidden "
        "states, the reward as an embedding, or a step's two values as that of each token",
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--raw", action="store_true", help="apply no activation to the values")
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    from reward_client.testing import serve

    try:
        serve(dialect=options.dialect, head=options.head, raw=options.raw, port=options.port)
    except OSError as error:
        raise UsageError(f"Port {options.port} cannot be served: {error.strerror}.") from error
