"""The settings of the run, which lie beside the scored file."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from reward_client._base.results import Settings
from reward_client._base.wording import list_numbers
from reward_client._pages.sections import Section, Table
from reward_client.files.settings import parse_settings, settings_path


def find_settings(source: Path) -> tuple[Settings | None, str]:
    """Return the settings of a run, or None; and the reason why they are missing."""
    path = settings_path(source)
    try:
        return parse_settings(path), ""
    except FileNotFoundError:
        return None, f"There is no file {path.name} beside the scored file"
    except (OSError, ValidationError):
        return None, f"The file {path.name} holds no settings of this version"


def provenance(settings: Settings | None, reason: str) -> Section:
    """Return the section on the origin of the rewards.

    Args:
        settings: The settings of the run; None if they are missing.
        reason: The reason why they are missing.
    """
    title = "Settings and provenance"
    if settings is None:
        words = f"{reason}, so that the model and the settings of the rewards are unknown."
        return Section(title, [words])
    rows = [
        [name.replace("_", " "), "none" if value is None else str(value)]
        for name, value in settings
        if name not in ("probe_scores", "replicas")
    ]
    if settings.replicas:
        others = [f"{each.engine} {each.server_version}" for each in settings.replicas]
        rows.append(["further replicas", ", ".join(others)])
    rows.append(["rewards of eight fixed prompts", list_numbers(settings.probe_scores)])
    rows.append(["fingerprint", settings.fingerprint])
    table = Table("Everything that the rewards depend on", ["setting", "value"], rows, texts=2)
    return Section(title, [table])
