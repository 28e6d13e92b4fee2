"""The options of commands that score the rows of files, and their client."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from reward_client._base.options import BASE_URL_VARIABLE
from reward_client._client.from_text import head_of, method_of
from reward_client.cli._options import (
    FurtherOptions,
    add_recipe_option,
    add_sample_options,
    add_server_options,
    add_tokenizer_option,
    open_client,
    option_type,
)
from reward_client.cli._output import show_error
from reward_client.errors import RewardTimeoutError, ServerUnreachableError

if TYPE_CHECKING:
    import argparse

    from reward_client import RewardClient


def add_url_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the server, or for several with one model."""
    parser.add_argument(
        "--url",
        action="append",
        help="URL of the server; repeatable for servers of one model; by default the environment "
        f"variable {BASE_URL_VARIABLE}",
    )


def add_scoring_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the model, its prompts and its rewards."""
    parser.add_argument(
        "--head",
        type=option_type(head_of),
        metavar="CALL",
        help="the head, such as \"ObjectiveHead(['help', 'safety'])\"",
    )
    parser.add_argument(
        "--method",
        type=option_type(method_of),
        metavar="CALL",
        help='the method, such as "TokenLogit(0)"',
    )
    add_server_options(parser)
    add_recipe_option(parser)
    add_sample_options(parser)
    add_tokenizer_option(parser)


@contextmanager
def open_scoring_client(
    options: argparse.Namespace, **more: Unpack[FurtherOptions]
) -> Generator[RewardClient]:
    """Open the client that the options describe, once its server is ready.

    Args:
        options: The parsed options.
        more: Further options of the client.

    Raises:
        OptionError: If an option is invalid.
        ImportError: If an option needs a library that is not installed.
        RewardClientError: If the server is not ready in time.
    """
    chosen: FurtherOptions = {**scoring_options(options), **more}
    with open_client(options.url, options, **chosen) as client:
        if options.wait > 0:
            client.wait_until_ready(timeout=options.wait)
        yield client


def scoring_options(options: argparse.Namespace) -> FurtherOptions:
    """Return the options of a client that `add_scoring_options` adds to those of a server."""
    chosen: FurtherOptions = {"tokenizer": options.tokenizer}
    if options.head is not None:
        chosen["head"] = options.head
    if options.method is not None:
        chosen["method"] = options.method
    return chosen


@contextmanager
def resume_hint(has_results: Callable[[], bool]) -> Generator[None]:
    """Say how to go on after a run that was stopped with results.

    Args:
        has_results: Returns True if there are any.
    """
    try:
        yield
    except (KeyboardInterrupt, RewardTimeoutError, ServerUnreachableError):
        if has_results():
            show_error("stopped; run the same command to resume.")
        raise


def has_results_for(output: str | Path) -> bool:
    """Return True if a run into this output has written results."""
    from reward_client.files.outputs.output import output_of

    results = output_of(output).results
    return results.is_file() and results.stat().st_size > 0
