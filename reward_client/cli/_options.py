"""Options that several commands share, and the client that they describe."""

from __future__ import annotations

import argparse
import math
import shutil
import textwrap
from collections.abc import Callable, Sequence
from typing import Protocol, TypedDict, TypeVar, Unpack, get_args

from reward_client import (
    AsyncRewardClient,
    Connection,
    InputError,
    RetryPolicy,
    RewardClient,
    RewardClientError,
    Timeouts,
)
from reward_client._base.options import (
    API_KEY_VARIABLE,
    OnControlTokens,
    OnOverlong,
    OnUnanswered,
)
from reward_client._client.base_url import BaseUrl, environment_key, request_headers, server_urls
from reward_client._client.from_text import header_of, recipe_of
from reward_client.heads import Head
from reward_client.methods import Method

ClientT = TypeVar("ClientT", RewardClient, AsyncRewardClient)

_LONGEST_WAIT = 365 * 24 * 3600
_MAX_PORT = 2**16 - 1
_WIDEST_HELP = 100

T = TypeVar("T")


class Commands(Protocol):
    """The return type of argparse's `add_subparsers`, which has no public name."""

    def add_parser(
        self,
        name: str,
        *,
        help: str,  # noqa: A002 - argparse's own name
        description: str,
        epilog: str,
        formatter_class: type[argparse.HelpFormatter],
    ) -> argparse.ArgumentParser:
        """Add the parser of a command."""
        ...


class FurtherOptions(TypedDict, total=False):
    """Options of a client that differ between the commands."""

    head: Head
    method: Method
    tokenizer: str
    retry: RetryPolicy
    timeout: Timeouts


class UsageError(Exception):
    """The command line or an input file is invalid."""


class OptionError(UsageError):
    """An option is invalid."""


def add_command(
    commands: Commands, name: str, *, summary: str, description: str, examples: Sequence[str]
) -> argparse.ArgumentParser:
    """Add the parser of a command.

    Args:
        commands: Parsers of all commands.
        name: Name of the command.
        summary: The command in a few words, for the list of commands.
        description: Text above the options.
        examples: Command lines below the options. Tests run them.
    """
    width = min(shutil.get_terminal_size().columns - 2, _WIDEST_HELP)
    return commands.add_parser(
        name,
        help=summary,
        description=textwrap.fill(description, width),
        epilog="\n".join(["examples:", *(f"  {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_server_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the server's model, and for the requests to it."""
    parser.set_defaults(
        recipe="auto", on_overlong="raise", on_control_tokens="raise", on_unanswered="raise"
    )
    parser.add_argument("--model", help="name of the model on the server, if it serves several")
    parser.add_argument(
        "--api-key",
        help=f"API key of the server; the environment variable {API_KEY_VARIABLE} is safer",
    )
    parser.add_argument(
        "--header",
        action="append",
        type=option_type(header_of),
        default=[],
        dest="headers",
        metavar="NAME=VALUE",
        help="header of every request, such as the key of a gateway; repeatable",
    )
    parser.add_argument(
        "--ca", metavar="FILE", help="certificates (PEM) to check the server's certificate with"
    )


def add_wait_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that waits for a server that is starting."""
    parser.add_argument(
        "--wait",
        type=number(float, 0, _LONGEST_WAIT),
        default=0.0,
        metavar="SECONDS",
        help="longest wait in seconds for a server that is starting (default: none)",
    )


def add_port_option(parser: argparse.ArgumentParser, default: int = 8000) -> None:
    """Add the option for the port of a server of our own."""
    parser.add_argument(
        "--port",
        type=number(int, 0, _MAX_PORT),
        default=default,
        help=f"port; 0 for a free one (default: {default})",
    )


def add_sample_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for conversations that are refused by default."""
    parser.add_argument(
        "--on-overlong",
        choices=get_args(OnOverlong),
        help='"raise" (default) fails a conversation that is too long; "drop_turns" leaves out its '
        "oldest turns, and marks its reward as truncated",
    )
    parser.add_argument(
        "--on-control-tokens",
        choices=get_args(OnControlTokens),
        help='"raise" (default) fails a conversation whose contents hold control tokens, such as '
        '<|im_end|>; "strip" removes those that end its answer; "allow" scores it',
    )
    parser.add_argument(
        "--on-unanswered",
        choices=get_args(OnUnanswered),
        help='"raise" (default) fails a conversation without an answer, or with two in a row; '
        '"allow" scores it',
    )


def add_tokenizer_option(parser: argparse.ArgumentParser) -> None:
    """Add `--tokenizer`."""
    parser.add_argument(
        "--tokenizer",
        default="server",
        help='the tokenizer: "server" (default), "local" or "auto" (extra `local`), or the folder '
        "or hub name of a tokenizer",
    )


def add_link_option(parser: argparse.ArgumentParser) -> None:
    """Add `--link`."""
    parser.add_argument(
        "--link",
        nargs="?",
        const="hard",
        default="hard",
        choices=["hard", "symbolic", "copy"],
        help="how to add unchanged weight files (default: hard links; files that cannot be linked "
        "are copied)",
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
    return recipe_of(options.recipe)


def open_client(
    url: BaseUrl | None, options: argparse.Namespace, **more: Unpack[FurtherOptions]
) -> RewardClient:
    """Open the client that the options of a command describe; see `client_of`."""
    return client_of(RewardClient, url, options, **more)


def client_of(
    kind: type[ClientT],
    url: BaseUrl | None,
    options: argparse.Namespace,
    **more: Unpack[FurtherOptions],
) -> ClientT:
    """Open the client that the options of a command describe.

    Args:
        kind: The class of the client.
        url: The server, or several of one model; None for that of the environment.
        options: The parsed options.
        more: Further options of the client.

    Raises:
        OptionError: If an option is invalid.
        ImportError: If an option needs a library that is not installed.
    """
    try:
        if options.ca is not None:
            _check_use_of_certificates(server_urls(url))
        return kind(
            url,
            model=options.model,
            api_key=options.api_key,
            headers=_headers(options.headers),
            connection=Connection() if options.ca is None else Connection(verify=options.ca),
            recipe=chosen_recipe(options),
            on_overlong=options.on_overlong,
            on_control_tokens=options.on_control_tokens,
            on_unanswered=options.on_unanswered,
            **more,
        )
    except RewardClientError as error:  # nothing has been sent yet
        raise OptionError(error) from error


def _check_use_of_certificates(urls: Sequence[str]) -> None:
    """Refuse certificates that nothing is checked with: neither a server nor a proxy."""
    from reward_client._transport.proxies import find_proxy

    for url in urls:
        found = find_proxy(url, Connection())
        if url.startswith("http:") and (found is None or found.address.url.scheme == "http"):
            raise OptionError(
                f"Cannot use --ca for {url}: a server at http:// has no certificate. Give its "
                "https:// address, or leave out --ca."
            )


def sent_headers(options: argparse.Namespace) -> dict[str, str]:
    """Return the headers of each request of the client that the options describe."""
    return request_headers(options.api_key or environment_key(), _headers(options.headers))


def number(parse: Callable[[str], float], low: int, high: int) -> Callable[[str], float]:
    """Return the type of an option with a number: its parser, which checks the range too.

    Args:
        parse: ``int`` or ``float``.
        low: The lowest value.
        high: The highest value.
    """
    kind = "a whole number" if parse is int else "a number"

    def parse_number(text: str) -> float:
        try:
            value = parse(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be {kind} from {low} to {high}, not {text!r}")
        return value

    return parse_number


def option_type(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return the type of an option: a parser with the errors of argparse."""

    def parse_option(text: str) -> T:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_option


def _headers(given: Sequence[tuple[str, str]]) -> dict[str, str]:
    headers = dict(given)
    if len(headers) < len(given):
        raise OptionError("Cannot send a header twice. Give each --header another name.")
    return headers
