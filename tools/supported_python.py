"""Ends a build on a Python that is too old, with the reason.

pip up to 23.0 would first look for other versions of every dependency, for hours.
"""

from __future__ import annotations

import platform
import sys
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface
from packaging.specifiers import SpecifierSet


class SupportedPython(MetadataHookInterface):
    """Checks `requires-python` when the metadata of the package is built."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Compare the running Python with the metadata, which stay as they are."""
        running, supported = platform.python_version(), metadata["requires-python"]
        if not SpecifierSet(supported).contains(running, prereleases=True):
            sys.exit(
                f"Cannot install {metadata['name']}: it needs Python {supported}, and this is "
                f"{running}. Make the environment with another Python."
            )
