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
        description="Serve a small reward model that grades sums, with the API of vLLM or SGLang.",
        examples=(
            "reward-client serve",
            "reward-client serve --port 8000 --dialect 0.8 --head steps",
            "reward-client serve --engine sglang --dialect 0.5.22",
        ),
    )
    parser.add_argument(
        "--engine", choices=["vllm", "sglang"], default="vllm", help="engine to imitate"
    )
    parser.add_argument(
        "--dialect",
        metavar="VERSION",
        help="version of the engine: of vLLM 0.8, 0.10, 0.12, 0.16, 0.20, 0.25, 0.32 (the default) "
        "or 0.33; of SGLang 0.4.9, 0.5.22 or 0.5.23 (the default)",
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
        serve(
            engine=options.engine,
            dialect=options.dialect,
            head=options.head,
            raw=options.raw,
            port=options.port,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(
            f"Cannot listen on port {options.port}: {error.strerror}. Choose another --port."
        ) from error
