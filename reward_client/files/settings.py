"""Store the settings of a run beside its results, and compare them before a run is resumed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from reward_client._base.atomic_file import write_atomically
from reward_client._base.results import Settings
from reward_client._client.equal_settings import each_server, with_replicas
from reward_client.errors import FileError
from reward_client.files.results import file_errors


def settings_path(results: Path) -> Path:
    """Return the path of the settings that belong to a file of results."""
    return results.with_name(f"{results.name}.settings.json")


def settings_digest(settings: Settings) -> bytes:
    """Return the digest of the settings, without what changes no reward.

    The probe scores are never exact, and further replicas may join a run.
    """
    exact = settings.model_dump_json(exclude={"probe_scores", "replicas"})
    return hashlib.sha256(exact.encode()).digest()


def write_settings(results: Path, settings: Settings) -> None:
    """Write the settings beside the results.

    Raises:
        FileError: If the settings cannot be written.
    """
    content = settings.model_dump_json(indent=2) + "\n"
    path = settings_path(results)
    with file_errors(path):
        write_atomically(path, content.encode())


def add_replicas(results: Path, settings: Settings, now: Settings) -> Settings:
    """Return the settings of a run with the replicas of today, and write them if any is new.

    Raises:
        FileError: If the settings cannot be written.
    """
    extended = with_replicas(settings, each_server(now))
    if extended is not settings:
        write_settings(results, extended)
    return extended


def read_settings(results: Path) -> Settings:
    """Read the settings of existing results.

    Raises:
        FileError: If the settings are missing or unreadable, since the file may not be ours.
    """
    path = settings_path(results)
    try:
        return parse_settings(path)
    except (OSError, ValidationError) as error:
        state = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise FileError(
            f"Cannot resume {results}: it is not empty, and its settings file {path.name} {state}. "
            "Choose another output; this one is left unchanged."
        ) from error


def refuse_foreign_settings(results: Path) -> None:
    """Refuse to overwrite a file beside new results that holds no settings of a run.

    Raises:
        FileError: If the file is not readable as settings of this version.
    """
    path = settings_path(results)
    try:
        parse_settings(path)
    except (OSError, ValidationError) as error:
        raise FileError(
            f"Cannot begin {results}: {path.name} exists, and holds no settings of this version. "
            "Move or delete it, or choose another output."
        ) from error


def parse_settings(path: Path) -> Settings:
    """Parse a file of settings.

    Raises:
        OSError: If the file does not exist or cannot be read.
        ValidationError: If it holds no settings of this version.
    """
    if not path.is_file():  # reading a pipe would wait for its writer
        raise FileNotFoundError(path)
    return Settings.model_validate_json(path.read_bytes())
