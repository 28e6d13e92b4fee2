"""The fixtures that the doctor's command needs are those of the doctor."""

from __future__ import annotations

from ..doctor.conftest import running, serve

__all__ = ["running", "serve"]
