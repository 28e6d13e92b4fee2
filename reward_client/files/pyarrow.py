"""The library pyarrow, of the extra ``data``. It is imported when a file needs it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

ARROW_ERRORS = (OSError, ValueError, TypeError, KeyError, OverflowError, NotImplementedError)
"""The base classes of pyarrow's errors."""


def pyarrow_module(needed_by: str, name: str = "") -> Any:
    """Import pyarrow, or a module of it.

    Args:
        needed_by: Whatever needs pyarrow, as the beginning of the error.
        name: Name of the module; empty for pyarrow itself.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        return import_module(f"pyarrow.{name}" if name else "pyarrow")
    except ImportError as error:
        raise ImportError(
            f"{needed_by} needs pyarrow. Run: pip install 'reward-client[data]'", name="pyarrow"
        ) from error
