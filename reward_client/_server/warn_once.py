"""Warnings about a server, each of which is logged once."""

from __future__ import annotations

import logging

_logger = logging.getLogger("reward_client")


class WarnOnce:
    """Logs a warning unless it was logged before: each discovery of a server finds the same."""

    def __init__(self) -> None:
        self._given: set[str] = set()

    def __call__(self, message: str, *args: object) -> None:
        """Log ``message % args`` at the level of warnings."""
        text = message % args
        if text not in self._given:
            self._given.add(text)
            _logger.warning("%s", text)
