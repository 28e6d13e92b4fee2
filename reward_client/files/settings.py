"""What results were scored with, kept beside them; whether they may be gone on with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import ValidationError

from reward_client._base.results import Settings
from reward_client._server.state import is_same, score_tolerance
from reward_client.errors import FileError
from reward_client.files.results import write_whole


def settings_path(results: Path) -> Path:
    """Where the settings of a file of results lie."""
    return results.with_name(f"{results.name}.settings.json")


def settings_digest(settings: Settings) -> bytes:
    """What says that results are of these settings; scores are left out, which are never exact."""
    exact = settings.model_dump_json(exclude={"probe_scores"})
    return hashlib.sha256(exact.encode()).digest()


def difference(then: Settings, now: Settings) -> str | None:
    """What has changed, so that rewards cannot be compared; None if nothing has."""
    for name in type(now).model_fields:
        one, other = getattr(then, name), getattr(now, name)
        if name == "probe_scores":
            if not is_same(one, other, score_tolerance(now)):
                return "the rewards that the model gives (another checkpoint under the same name?)"
        elif one != other:
            return f"{name} was {one!r} and is {other!r} now"
    return None


def write_settings(results: Path, settings: Settings) -> None:
    """Writes the settings of a file of results beside it.

    Raises:
        FileError: They cannot be written.
    """
    content = settings.model_dump_json(indent=2) + "\n"
    write_whole(settings_path(results), content.encode())


def read_settings(results: Path) -> Settings:
    """The settings of a file of results.

    Raises:
        FileError: They cannot be read: it is none, or was moved without them.
    """
    path = settings_path(results)
    try:
        return Settings.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        why = "is not there" if isinstance(error, FileNotFoundError) else "cannot be read"
        raise FileError(
            f"{results} is not empty, and {path.name}, which says what results were scored with, "
            f"{why}. It is not overwritten: name another output."
        ) from error
