"""The numbers of a released version."""

from __future__ import annotations

import re


def release_of(version: str | None) -> tuple[int, int, int] | None:
    """Return major, minor and patch; None for development versions and unreadable ones."""
    if version is None or "dev" in version:
        return None
    found = re.match(r"(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?", version)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None
