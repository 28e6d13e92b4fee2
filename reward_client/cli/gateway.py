"""`reward-client gateway`: one HTTP server in front of reward servers."""

from __future__ import annotations

import logging
import os
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from reward_client import AsyncRewardClient, InputError, RetryPolicy
from reward_client.cli._options import (
    Commands,
    OptionError,
    UsageError,
    add_command,
    add_port_option,
    client_of,
    number,
)
from reward_client.cli._scoring import add_scoring_options, add_url_option, scoring_options

if TYPE_CHECKING:
    import argparse

    from starlette.applications import Starlette

    from reward_client.gateway import GatewayLimits

KEY_VARIABLE = "REWARD_CLIENT_GATEWAY_KEY"
_PORT = 9000  # vLLM takes 8000
_MAX_BYTES = 2**31
_MAX_SAMPLES = 10**7
_LONGEST = 24 * 3600


def add_to(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "gateway",
        summary="answer the reward requests of trainers until Ctrl-C",
        description="Serve the rewards of one or many reward servers by the contracts of trainers: "
        "OpenRLHF, LLaMA-Factory, slime, NeMo Gym, verl, and a plain one. /docs describes them.",
        examples=(
            "reward-client gateway --url http://localhost:8000",
            "reward-client gateway --url http://localhost:8000 --port 9001 --key-file key.txt",
        ),
    )
    add_url_option(parser)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 for every network (default: 127.0.0.1)",
    )
    add_port_option(parser, _PORT)
    parser.add_argument(
        "--key-file",
        type=Path,
        metavar="FILE",
        help="file with the key that callers have to send; by default the environment variable "
        f"{KEY_VARIABLE}, else no key",
    )
    parser.add_argument(
        "--policy-tokenizer",
        metavar="NAME",
        help="folder or hub name of the policy's tokenizer (extra `local`): reads texts in the "
        "policy's chat template, as OpenRLHF, LLaMA-Factory and slime send them",
    )
    parser.add_argument(
        "--strip-reasoning",
        action="append",
        metavar="TAG",
        help="tag around reasoning that is left out of the policy's answers, such as think; "
        "repeatable",
    )
    parser.add_argument(
        "--max-body-bytes",
        type=number(int, 1, _MAX_BYTES),
        metavar="N",
        help="largest body of a request (default: 67108864)",
    )
    parser.add_argument(
        "--max-samples",
        type=number(int, 1, _MAX_SAMPLES),
        metavar="N",
        help="most samples in one request (default: 8192)",
    )
    parser.add_argument(
        "--max-in-flight",
        type=number(int, 1, _MAX_SAMPLES),
        metavar="N",
        help="most samples in flight over all requests (default: 65536)",
    )
    parser.add_argument(
        "--patience",
        type=number(float, 1, _LONGEST),
        metavar="SECONDS",
        help="longest wait of a request for reward servers that start, restart or are away "
        "(default: 1800)",
    )
    parser.add_argument(
        "--grace",
        type=number(int, 1, _LONGEST),
        metavar="SECONDS",
        help="time for requests in flight to end after a signal to stop (default: 30)",
    )
    parser.add_argument(
        "--log-level",
        choices=["debug", "info", "warning", "error"],
        default="info",
        help="lowest level of the log lines on stderr; info logs each request (default: info)",
    )
    add_scoring_options(parser)
    parser.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> None:
    try:
        from reward_client.gateway.logs import note, write_lines
        from reward_client.gateway.server import listening_socket, run
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("starlette", "uvicorn"):
            raise
        raise UsageError(
            f"Cannot start the gateway: {package} is missing. Install reward-client[gateway]."
        ) from error
    limits, key = _limits(options), _key(options)
    chosen = scoring_options(options)
    chosen["retry"] = RetryPolicy(budget=limits.patience)
    client = client_of(AsyncRewardClient, options.url, options, **chosen)
    app = _app(client, key, limits, options)
    try:
        bound = listening_socket(options.host, options.port)
    except OSError as error:
        raise UsageError(
            f"Cannot listen on {options.host}, port {options.port}: {error.strerror}. Choose "
            "another --host or --port."
        ) from error
    write_lines(options.log_level)
    if key is None and not ip_address(bound.getsockname()[0]).is_loopback:
        note(logging.WARNING, "no key: anybody who reaches the gateway may use it (--key-file)")
    run(app, client, bound, grace=limits.grace)


def _app(
    client: AsyncRewardClient, key: str | None, limits: GatewayLimits, options: argparse.Namespace
) -> Starlette:
    from reward_client.gateway import create_app

    try:
        return create_app(
            client,
            key=key,
            limits=limits,
            policy_tokenizer=options.policy_tokenizer,
            strip_reasoning=options.strip_reasoning,
        )
    except InputError as error:
        raise OptionError(error) from error


def _limits(options: argparse.Namespace) -> GatewayLimits:
    from reward_client.gateway import GatewayLimits

    names = GatewayLimits.model_fields
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    try:
        return GatewayLimits(**given)
    except ValueError as error:
        raise OptionError(
            "Cannot take --max-samples above --max-in-flight: such a request would be refused for "
            "ever. Lower the first, or raise the second."
        ) from error


def _key(options: argparse.Namespace) -> str | None:
    """Return the key of the file, or that of the environment.

    Raises:
        OptionError: If the file cannot be read, or the key is empty or not printable ASCII.
    """
    source = KEY_VARIABLE
    key = os.environ.get(KEY_VARIABLE)
    if options.key_file is not None:
        source = str(options.key_file)
        try:
            key = options.key_file.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise OptionError(f"Cannot read the key in {source}: {reason}.") from error
    if key is None:
        return None
    if not key or not (key.isascii() and key.isprintable()) or " " in key:
        raise OptionError(
            f"Cannot use the key in {source}: it must be ASCII without spaces, and not empty."
        )
    return key
