"""Check the arguments of functions that read files and write others."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import cast

from reward_client._base.json_values import as_sequence
from reward_client._base.wording import describe_type
from reward_client._client.sync_client import RewardClient
from reward_client.errors import InputError


def checked_paths(call: str, client: object, source: object, destination: object) -> list[Path]:
    """Return the paths of the input, after a check of all arguments.

    Args:
        call: The name of the function that has them.
        client: The client.
        source: A path, or several.
        destination: The path of the output.

    Raises:
        InputError: If one is of another kind.
    """
    if not isinstance(client, RewardClient):
        raise InputError(
            f'{call}() needs a RewardClient, such as RewardClient("http://localhost:8000"), as '
            f"its first argument, not {describe_type(client)}."
        )
    if not isinstance(destination, str | PathLike):
        raise _no_path(call, destination)
    return paths_of(call, source)


def paths_of(call: str, source: object) -> list[Path]:
    """Return the paths of the input.

    Raises:
        InputError: If there is none, or if one is no path.
    """
    several = as_sequence(source)
    paths: list[Path] = []
    for path in [source] if several is None else several:
        if not isinstance(path, str | PathLike):
            raise _no_path(call, path)
        paths.append(Path(cast("str | PathLike[str]", path)))
    if not paths:
        raise InputError(f"{call}() needs a file to read: the list of paths is empty.")
    return paths


def _no_path(call: str, given: object) -> InputError:
    return InputError(
        f"{call}() reads files and writes another: {describe_type(given)} is no path. Write "
        "client.score_rows(rows) for rows in memory, or client.stream(samples) for samples."
    )
