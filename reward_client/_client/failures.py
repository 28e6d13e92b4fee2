"""The warning about errors that a call returned instead of raising."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from reward_client.errors import FAULTS

_logger = logging.getLogger("reward_client")

_FAULTS = {kind.__name__: fault for kind, fault in FAULTS.items()}


def fault_of(kind: str) -> str:
    """Return the `fault` of errors by the name of their class."""
    return _FAULTS.get(kind, "server")


def warn_of_failures(counts: Mapping[str, int], total: int, what: str) -> None:
    """Log how many samples failed, by the kinds of their errors; nothing if none did.

    Args:
        counts: The number of failures by the name of the error's class.
        total: The number of samples, those that failed included.
        what: The plural for a sample, such as ``"samples"``.
    """
    kinds = sorted(counts.items(), key=lambda item: -item[1])
    shown = ", ".join(
        f"{count:,} {kind} (fault: {fault_of(kind)})" for kind, count in kinds if count
    )
    if shown:
        failed = sum(counts.values())
        _logger.warning("%s of %s %s failed: %s.", f"{failed:,}", f"{total:,}", what, shown)
